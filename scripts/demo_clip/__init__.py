"""Parts of ``scripts/make_demo_clip.py``: hand model, poses, motion and rendering."""
