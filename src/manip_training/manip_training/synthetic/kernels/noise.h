// Patterns in space from a hash of whole numbers: the same on every device.
#pragma once

#include "lanes.h"

// Mixes the bits of a number (the last step of xxHash32).
template <class T>
FN T scramble(T h) {
    h = (h ^ (h >> 15)) * 0x85ebca77u;
    h = (h ^ (h >> 13)) * 0xc2b2ae3du;
    return h ^ (h >> 16);
}
FN U cell_hash(U x, U y, U z, U seed) {
    return scramble((x * 0x9e3779b1u) ^ (y * 0x85ebca77u) ^ (z * 0xc2b2ae3du) ^ seed);
}
// 0 to 1, of 24 bits.
FN F share_of(U hash) { return to_float(as_int(hash >> 8)) * (1.0f / 16777216.0f); }

struct Noise {
    F value;        // 0 to 1, mean 1/2
    V3<F> gradient; // per unit of place
};

// Value noise: random numbers at whole places, cubic in between.
FN Noise value_noise(V3<F> place, U seed) {
    F fx = floor_of(place.x), fy = floor_of(place.y), fz = floor_of(place.z);
    F tx = place.x - fx, ty = place.y - fy, tz = place.z - fz;
    U x = as_unsigned(to_int(fx)), y = as_unsigned(to_int(fy)), z = as_unsigned(to_int(fz));
    F wx = tx * tx * (3.0f - 2.0f * tx), wy = ty * ty * (3.0f - 2.0f * ty);
    F wz = tz * tz * (3.0f - 2.0f * tz);
    F low[2], across[2], along[2];  // of the faces z and z + 1: value and slopes along x and y
    for (int k = 0; k < 2; ++k) {
        U layer = z + (unsigned)k;
        F a = share_of(cell_hash(x, y, layer, seed));
        F b = share_of(cell_hash(x + 1u, y, layer, seed));
        F c = share_of(cell_hash(x, y + 1u, layer, seed));
        F d = share_of(cell_hash(x + 1u, y + 1u, layer, seed));
        F top = mix(a, b, wx), bottom = mix(c, d, wx);
        low[k] = mix(top, bottom, wy);
        across[k] = mix(b - a, d - c, wy);
        along[k] = bottom - top;
    }
    Noise out;
    out.value = mix(low[0], low[1], wz);
    out.gradient.x = mix(across[0], across[1], wz) * (6.0f * tx * (1.0f - tx));
    out.gradient.y = mix(along[0], along[1], wz) * (6.0f * ty * (1.0f - ty));
    out.gradient.z = (low[1] - low[0]) * (6.0f * tz * (1.0f - tz));
    return out;
}

// How much of a detail remains that repeats `rate` times a pixel: it fades before it would alias.
FN F kept(F rate) { return clamp(2.0f - 2.0f * rate, 0.0f, 1.0f); }

// Three octaves of value noise. The gradient is that of the place of the first one, with every
// octave as strong as the first: the bumps of all sizes are equally steep.
FN Noise cloudy_noise(V3<F> place, U seed, F rate) {
    Noise sum = {splat(0.5f), {splat(0.0f), splat(0.0f), splat(0.0f)}};
    float weight = 4.0f / 7.0f;
    for (unsigned k = 0; k < 3; ++k) {
        Noise octave = value_noise(place, seed + k);
        F keep = kept(rate);
        sum.value += weight * keep * (octave.value - 0.5f);
        sum.gradient = plus(sum.gradient, times(octave.gradient, keep));
        place = times(place, 2.0f);
        rate = rate * 2.0f;
        weight *= 0.5f;
    }
    return sum;
}

FN F stripes(V3<F> place, F cloud, U seed, F rate) {
    F x = share_of(scramble(seed ^ 1u)) - 0.5f, y = share_of(scramble(seed ^ 2u)) - 0.5f;
    F z = share_of(scramble(seed ^ 3u)) - 0.5f;
    F across = (x * place.x + y * place.y + z * place.z) / root(x * x + y * y + z * z + 1e-6f);
    across = across + 0.6f * (cloud - 0.5f);
    F wave = magnitude(2.0f * (across - floor_of(across)) - 1.0f);
    return mix(splat(0.5f), smooth_step(wave, splat(0.5f), larger(splat(0.1f), rate)), kept(rate));
}

// 1 and -1 in turn, the steps a pixel wide.
FN F square_wave(F at, F rate) {
    F whole = floor_of(at);
    F edge = 0.5f - magnitude(at - whole - 0.5f);
    F height = clamp(2.0f * edge / larger(rate, splat(1e-6f)), 0.0f, 1.0f);
    return pick((to_int(whole) & 1) == 0, height, -height);
}
FN F checks(V3<F> place, F rate) {
    F wave = square_wave(place.x, rate) * square_wave(place.y, rate) * square_wave(place.z, rate);
    return 0.5f - 0.5f * kept(rate) * wave;
}

// A ball somewhere in every cell, wholly inside it.
FN F speckles(V3<F> place, U seed, F rate) {
    F x = floor_of(place.x), y = floor_of(place.y), z = floor_of(place.z);
    I column = to_int(x), row = to_int(y), layer = to_int(z);
    U hash = cell_hash(as_unsigned(column), as_unsigned(row), as_unsigned(layer), seed);
    F radius = 0.1f + 0.2f * share_of(scramble(hash ^ 4u));
    F dx = place.x - x - (0.3f + 0.4f * share_of(scramble(hash ^ 1u)));
    F dy = place.y - y - (0.3f + 0.4f * share_of(scramble(hash ^ 2u)));
    F dz = place.z - z - (0.3f + 0.4f * share_of(scramble(hash ^ 3u)));
    F inside = radius - root(dx * dx + dy * dy + dz * dz);
    return kept(rate) * smooth_step(inside, splat(0.0f), larger(splat(0.025f), 0.5f * rate));
}
