// The GPU's kernels as ordinary code: one thread after the other, so that tests can run them where
// there is no GPU. They never wait for each other, so the order does not matter.
#include <cmath>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline

struct Position {
    unsigned x, y, z;
};
static Position gridDim, blockDim, blockIdx, threadIdx;

template <class T>
static T from_words(const void* value) {
    T out;
    std::memcpy(&out, value, sizeof out);
    return out;
}
static int __float_as_int(float value) { return from_words<int>(&value); }
static unsigned __float_as_uint(float value) { return from_words<unsigned>(&value); }
static float __int_as_float(int value) { return from_words<float>(&value); }
static float __uint_as_float(unsigned value) { return from_words<float>(&value); }
template <class T>
static T atomicMax(T* at, T value) {
    const T old = *at;
    *at = value > old ? value : old;
    return old;
}

#include "cuda.cu"

extern "C" int launch(const char* name, const Position* grid, const Position* block,
                      const Scene* scene) {
    static const struct {
        const char* name;
        void (*kernel)(Scene);
    } kernels[] = {{"find_bounds", find_bounds},       {"place_vertices", place_vertices},
                   {"draw_triangles", draw_triangles}, {"shade_pixels", shade_pixels},
                   {"defocus_across", defocus_across}, {"defocus_down", defocus_down},
                   {"develop", develop}};
    for (const auto& known : kernels) {
        if (std::strcmp(known.name, name)) continue;
        gridDim = *grid;
        blockDim = *block;
        Position &b = blockIdx, &t = threadIdx;
        for (b.z = 0; b.z < grid->z; ++b.z)
            for (b.y = 0; b.y < grid->y; ++b.y)
                for (b.x = 0; b.x < grid->x; ++b.x)
                    for (t.z = 0; t.z < block->z; ++t.z)
                        for (t.y = 0; t.y < block->y; ++t.y)
                            for (t.x = 0; t.x < block->x; ++t.x) known.kernel(*scene);
        return 0;
    }
    return 1;
}
