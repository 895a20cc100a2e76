// The kernels on a GPU: a stage a launch, none of which waits for another thread.
//
// The second or third axis of the grid is the image in work; see gpu_kernels.py for the order.
#define MANIP_CUDA
#include "picture.h"
#include "resolve.h"
#include "shading.h"

// Image s.first + local, with the work areas of the local one.
FN Picture picture_in_work(const Scene& s, int local) {
    Picture p = picture_of(s, s.first + local);
    const long long image = local, samples = (long long)samples_across(p) * samples_across(p);
    const long long planes = 3LL * s.size * row_stride(s.size);
    p.normals = s.normals + image * 3 * s.num_vertices;
    p.screen = s.screen + image * 6 * s.num_vertices;
    p.linear = s.linear + image * planes;
    p.blurred = s.blurred + image * planes;
    p.bounds = s.bounds + image * 4;
    p.camera_keys = (unsigned long long*)s.visible + image * (samples + SHADOW_SIZE * SHADOW_SIZE);
    p.light_keys = p.camera_keys + samples;
    return p;
}

// A thread a vertex: what casts shadows. Bounds and keys are zero before.
extern "C" __global__ void find_bounds(const Scene s) {
    const int vertex = blockIdx.x * blockDim.x + threadIdx.x;
    if (vertex >= s.num_vertices) return;
    const Picture p = picture_in_work(s, blockIdx.y);
    unsigned found[4];
    if (!shadow_bounds(p, light_frame(p), vertex, found)) return;
    for (int k = 0; k < 4; ++k) {
        if (found[k] > p.bounds[k]) atomicMax(p.bounds + k, found[k]);
    }
}

// A thread a vertex: where it is on the screen and on the shadow map, and its normal.
extern "C" __global__ void place_vertices(const Scene s) {
    const int vertex = blockIdx.x * blockDim.x + threadIdx.x;
    if (vertex >= s.num_vertices) return;
    const Picture p = picture_in_work(s, blockIdx.y);
    const VertexPlace at = place_vertex(p, light_view(p), vertex);
    float* to[3] = {p.screen + 3 * vertex, p.screen + 3 * (p.num_vertices + vertex),
                    p.normals + 3 * vertex};
    const V3<float> values[3] = {at.seen, at.lit, at.normal};
    for (int k = 0; k < 3; ++k) {
        to[k][0] = values[k].x;
        to[k][1] = values[k].y;
        to[k][2] = values[k].z;
    }
}

// 32 threads a triangle, together over 8 by 4 samples at a time; z is 0 for the camera, 1 for the
// light.
extern "C" __global__ void draw_triangles(const Scene s) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    const int triangle = thread >> 5, lane = thread & 31;
    if (triangle >= s.num_faces) return;
    const Picture p = picture_in_work(s, blockIdx.y);
    const bool from_light = blockIdx.z == 1;
    const int width = from_light ? SHADOW_SIZE : samples_across(p);
    const float* screen = from_light ? p.screen + 3 * p.num_vertices : p.screen;
    unsigned long long* keys = from_light ? p.light_keys : p.camera_keys;
    Triangle t;
    if (!set_up(screen, p.faces + 3 * triangle, width, t)) return;
    for (int y = t.top + (lane >> 3); y <= t.bottom; y += 4) {
        for (int x = t.left + (lane & 7); x <= t.right; x += 8) {
            const float near = cover(t, x, y);
            if (near <= 0) continue;
            const unsigned first_wins = 0xffffffffu - (unsigned)triangle;
            const unsigned long long key =
                (unsigned long long)__float_as_uint(near) << 32 | first_wins;
            unsigned long long* at = keys + y * width + x;
            if (key > *at) atomicMax(at, key);
        }
    }
}

// A thread a pixel: depth, part, and the linear picture.
extern "C" __global__ void shade_pixels(const Scene s) {
    const int u = blockIdx.x * blockDim.x + threadIdx.x;
    const int v = blockIdx.y * blockDim.y + threadIdx.y;
    if (u >= s.size || v >= s.size) return;
    const Picture p = picture_in_work(s, blockIdx.z);
    const Pixel pixel = resolve(p, u, v);
    const int n = p.supersample, samples = n * n;
    const int at = v * p.size + (p.mirror ? p.size - 1 - u : u);
    const bool shown = pixel.centre >= 0;
    p.part[at] = shown ? (unsigned char)(1 + p.face_part[pixel.centre]) : 0;
    p.depth[at] = pixel.near > 0 ? 1.0f / pixel.near
                  : shown        ? meet(p, pixel.centre, u, v).place.z
                                 : 0.0f;
    const float empty = 1.0f - float(pixel.covered) / samples;
    V3<float> sum = {0, 0, 0};
    if (empty > 0) sum = times(background_at(p, bank_level(p), background_turn(p), u, v), empty);
    if (pixel.covered) {
        const LightView view = light_view(p);
        const int shaded = pixel.agree ? 1 : samples;
        for (int k = 0; k < shaded; ++k) {
            const int sample = (v * n + k / n) * samples_across(p) + u * n + k % n;
            const int triangle = pixel.agree ? pixel.centre : triangle_at(p, sample);
            if (triangle < 0) continue;
            const float x = pixel.agree ? u : u + sample_offset(n, k % n);
            const float y = pixel.agree ? v : v + sample_offset(n, k / n);
            sum = plus(sum, times(shade(p, view, triangle, x, y), 1.0f / shaded));
        }
    }
    row_of(p, p.linear, 0, v)[u] = sum.x;
    row_of(p, p.linear, 1, v)[u] = sum.y;
    row_of(p, p.linear, 2, v)[u] = sum.z;
}

// A thread a value: the two directions of the defocus, nothing where there is none.
extern "C" __global__ void defocus_across(const Scene s) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= s.size || row >= 3 * s.size) return;
    const Picture p = picture_in_work(s, blockIdx.z);
    const float sigma = defocus(p);
    if (sigma == 0) return;
    row_of(p, p.blurred, 0, row)[x] = blurred_across(p, gaussian_taps(sigma), 0, x, row);
}
extern "C" __global__ void defocus_down(const Scene s) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= s.size || row >= 3 * s.size) return;
    const Picture p = picture_in_work(s, blockIdx.z);
    const float sigma = defocus(p);
    if (sigma == 0) return;
    const int channel = row / s.size, y = row % s.size;
    row_of(p, p.linear, channel, y)[x] = blurred_down(p, gaussian_taps(sigma), channel, x, y);
}

// A thread a pixel: the picture.
extern "C" __global__ void develop(const Scene s) {
    const int u = blockIdx.x * blockDim.x + threadIdx.x;
    const int v = blockIdx.y * blockDim.y + threadIdx.y;
    if (u >= s.size || v >= s.size) return;
    const Picture p = picture_in_work(s, blockIdx.z);
    const V3<float> values = developed(p, motion_of(p), u, v);
    const int at = v * p.size + (p.mirror ? p.size - 1 - u : u), plane = p.size * p.size;
    p.image[at] = (unsigned char)values.x;
    p.image[at + plane] = (unsigned char)values.y;
    p.image[at + 2 * plane] = (unsigned char)values.z;
}
