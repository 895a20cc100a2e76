// What the kernels are given, and one image of it.
#pragma once

#include "lanes.h"

#define NEAR_LIMIT 0.02f    // [m] triangles with a nearer vertex are not drawn
#define FAR_AWAY 1e6f       // [samples] nothing is drawn whose corners lie beyond
#define NO_PLACE 1e30f      // screen coordinate of a vertex that cannot be drawn
#define SHADOW_SIZE 128     // [texels] side of the shadow map
#define LIGHT_HEIGHT 16.0f  // [m] added to heights towards the light, so that they are positive
#define BORDER 16           // [px] beside the rows of the linear picture, for the blurs to run into
#define NUM_LIGHTS 3
#define MATERIALS 10
#define LENSES 8
#define PLACEMENTS 5

// Mirrors the ctypes structure of kernel_scene.py, field by field.
struct Scene {
    const float *vertices, *texture, *colour, *material, *lights, *sky, *ground, *up, *camera;
    const float *placement, *background_gain, *lens;
    const int *faces, *face_part, *face_group, *ring_start, *ring, *background, *seed;
    const unsigned* bank;         // (N, all levels' texels) red, green, blue from the low byte up
    const unsigned char* mirror;
    unsigned char* image;
    float* depth;
    unsigned char* part;
    float *normals, *screen, *linear, *blurred;
    unsigned* bounds;             // (B, 4) of what casts shadows, see geometry.h
    void* visible;                // keys on the GPU, see Picture
    int first, images, num_vertices, num_faces, num_parts, num_backgrounds, bank_height, bank_width;
    int bank_levels, bank_texels, size, supersample;
};

// One image: where its rows begin. On a CPU the work areas are a thread's own.
struct Picture {
    const float *vertices, *texture, *colour, *material, *lights, *sky, *ground, *up, *camera;
    const float *placement, *background_gain, *lens;
    const int *faces, *face_part, *face_group, *ring_start, *ring;
    const unsigned* bank;
    unsigned char* image;
    float* depth;
    unsigned char* part;
    float *normals, *screen, *linear, *blurred;
    unsigned* bounds;
#ifdef MANIP_CUDA
    // Nearness in the upper half, the triangle's complement in the lower one: the largest wins, and
    // of equally near triangles the first. Zero where there is nothing.
    unsigned long long *camera_keys, *light_keys;
#else
    float *camera_near, *light_near;
    int* camera_triangle;
#endif
    int num_vertices, num_faces, bank_height, bank_width, bank_levels, size, supersample;
    unsigned seed;
    bool mirror;
};

FN int samples_across(const Picture& p) { return p.size * p.supersample; }
FN int row_stride(int size) { return size + 2 * BORDER; }
FN float* row_of(const Picture& p, float* planes, int channel, int y) {
    return planes + (channel * p.size + y) * row_stride(p.size) + BORDER;
}

// The inputs and outputs of an image; work areas are left to the caller.
FN Picture picture_of(const Scene& s, int b) {
    Picture p;
    const long long image = b;
    p.vertices = s.vertices + image * s.num_vertices * 3;
    p.texture = s.texture + image * s.num_vertices * 3;
    p.colour = s.colour + image * s.num_vertices * 3;
    p.material = s.material + image * s.num_parts * MATERIALS;
    p.lights = s.lights + image * NUM_LIGHTS * 6;
    p.sky = s.sky + image * 3;
    p.ground = s.ground + image * 3;
    p.up = s.up + image * 3;
    p.camera = s.camera + image * 4;
    p.placement = s.placement + image * PLACEMENTS;
    p.background_gain = s.background_gain + image * 3;
    p.lens = s.lens + image * LENSES;
    p.faces = s.faces;
    p.face_part = s.face_part;
    p.face_group = s.face_group;
    p.ring_start = s.ring_start;
    p.ring = s.ring;
    int chosen = s.background[b];
    chosen = chosen < 0 ? 0 : chosen >= s.num_backgrounds ? s.num_backgrounds - 1 : chosen;
    p.bank = s.bank + (long long)chosen * s.bank_texels;
    const long long pixels = s.size * s.size;
    p.image = s.image + image * 3 * pixels;
    p.depth = s.depth + image * pixels;
    p.part = s.part + image * pixels;
    p.num_vertices = s.num_vertices;
    p.num_faces = s.num_faces;
    p.bank_height = s.bank_height;
    p.bank_width = s.bank_width;
    p.bank_levels = s.bank_levels;
    p.size = s.size;
    p.supersample = s.supersample;
    p.seed = (unsigned)s.seed[b];
    p.mirror = s.mirror[b] != 0;
    return p;
}

// Nearness seen by the camera [1/m] at a sample, and by the light [m]; 0 where there is nothing.
#ifdef MANIP_CUDA
FN F camera_near_at(const Picture& p, I at) {
    return __uint_as_float((unsigned)(p.camera_keys[at] >> 32));
}
FN F light_near_at(const Picture& p, I at) {
    return __uint_as_float((unsigned)(p.light_keys[at] >> 32));
}
FN int triangle_at(const Picture& p, int at) {
    const unsigned long long key = p.camera_keys[at];
    return key == 0 ? -1 : int(0xffffffffu - (unsigned)key);
}
FN float nearness_at(const Picture& p, int at) { return camera_near_at(p, at); }
#else
FN F camera_near_at(const Picture& p, I at) { return gather(p.camera_near, at); }
FN F light_near_at(const Picture& p, I at) { return gather(p.light_near, at); }
FN int triangle_at(const Picture& p, int at) { return p.camera_triangle[at]; }
FN float nearness_at(const Picture& p, int at) { return p.camera_near[at]; }
#endif
