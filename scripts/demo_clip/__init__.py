"""Parts of ``scripts/make_demo_clip.py``: gestures, skin gaps, motion and pictures."""
