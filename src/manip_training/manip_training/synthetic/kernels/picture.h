// The background behind the surfaces, and what lens, sensor and file format make of the light.
#pragma once

#include "noise.h"
#include "scene.h"

#define DISPLAY_GAMMA 2.2f    // in which the backgrounds are encoded
#define MOST_DEFOCUS 3.0f     // [px] standard deviation; larger ones count as this
#define LEAST_DEFOCUS 0.05f   // [px] smaller ones are none
#define MOST_MOTION 16.0f     // [px] length
#define LEAST_MOTION 0.3f     // [px]
#define MOTION_TAPS 7
#define DEFOCUS_REACH 8       // [px] taps to either side at most

// Mirrored repeat of a place in a picture `length` texels wide.
FN F reflect(F at, float length) {
    F turned = at * (0.5f / length);
    turned = (turned - floor_of(turned)) * (2.0f * length);
    return clamp(length - magnitude(turned - length), 0.0f, length);
}

struct BankLevel {
    const unsigned* texels;
    int height, width;
};

// The level of the bank's picture that is shown: as blurred as asked, and no finer than the pixels.
FN BankLevel bank_level(const Picture& p) {
    const float shown = p.placement[2] < 0 ? -p.placement[2] : p.placement[2];
    const float fine = first(log2_of(splat(shown * p.bank_width / p.size)));
    float wanted = p.placement[4] > fine ? p.placement[4] : fine;
    wanted = wanted > 0 ? wanted : 0;
    const int most = p.bank_levels - 1;
    const int level = wanted < most ? int(wanted + 0.5f) : most;
    BankLevel out = {p.bank, p.bank_height, p.bank_width};
    for (int k = 0; k < level; ++k) {
        out.texels += out.height * out.width;
        out.height = out.height > 1 ? out.height / 2 : 1;
        out.width = out.width > 1 ? out.width / 2 : 1;
    }
    return out;
}

// Cosine and sine of the background's turn.
struct Turn {
    float cosine, sine;
};
FN Turn background_turn(const Picture& p) {
#ifdef MANIP_CUDA
    return {cosf(p.placement[3]), sinf(p.placement[3])};
#else
    return {std::cos(p.placement[3]), std::sin(p.placement[3])};
#endif
}

// Linear light of the background at pixels.
FN V3<F> background_at(const Picture& p, const BankLevel& level, const Turn& turn, F u, F v) {
    F x = u * (1.0f / p.size) - 0.5f, y = v * (1.0f / p.size) - 0.5f;
    F across = p.placement[0] + p.placement[2] * (turn.cosine * x - turn.sine * y);
    F down = p.placement[1] + p.placement[2] * (turn.sine * x + turn.cosine * y);
    across = clamp(across, -1e4f, 1e4f) * float(level.width);
    down = clamp(down, -1e4f, 1e4f) * (float(p.bank_width) / p.bank_height * level.height);
    F left = clamp(reflect(across, level.width) - 0.5f, 0.0f, level.width - 1.0f);
    F top = clamp(reflect(down, level.height) - 0.5f, 0.0f, level.height - 1.0f);
    I column = to_int(left), row = to_int(top);
    F tx = left - to_float(column), ty = top - to_float(row);
    I next = clamp_int(column + 1, 0, level.width - 1);
    I below = clamp_int(row + 1, 0, level.height - 1) * level.width;
    row = row * level.width;
    const int* texels = (const int*)level.texels;
    I a = gather_int(texels, row + column), b = gather_int(texels, row + next);
    I c = gather_int(texels, below + column), d = gather_int(texels, below + next);
    F out[3];
    for (int k = 0; k < 3; ++k) {
        const int shift = 8 * k;
        F high = mix(to_float((a >> shift) & 255), to_float((b >> shift) & 255), tx);
        F low = mix(to_float((c >> shift) & 255), to_float((d >> shift) & 255), tx);
        F encoded = mix(high, low, ty) * (1.0f / 255.0f);
        const float gain = p.background_gain[k] > 0 ? p.background_gain[k] : 0;
        out[k] = power(encoded, splat(DISPLAY_GAMMA)) * gain;
    }
    return {out[0], out[1], out[2]};
}

// Pixels x, x + 1, ... of a row, the row going on with its last pixel beyond its ends. On a CPU the
// borders hold those pixels already.
#ifdef MANIP_CUDA
FN F take(const float* row, int x, int size) {
    return row[x < 0 ? 0 : x >= size ? size - 1 : x];
}
#else
FN F take(const float* row, int x, int) { return load(row + x); }
#endif
FN int row_within(int y, int size) { return y < 0 ? 0 : y >= size ? size - 1 : y; }

FN float defocus(const Picture& p) {
    const float sigma = p.lens[3];
    return sigma > LEAST_DEFOCUS ? sigma < MOST_DEFOCUS ? sigma : MOST_DEFOCUS : 0.0f;
}

struct Taps {
    float weight[DEFOCUS_REACH + 1];
    int reach;
};
FN Taps gaussian_taps(float sigma) {
    Taps t;
    t.reach = int(2.6f * sigma) + 1;
    t.reach = t.reach > DEFOCUS_REACH ? DEFOCUS_REACH : t.reach;
    float sum = 0;
    for (int k = 0; k <= DEFOCUS_REACH; ++k) {
        const float at = k / sigma;
        // Base 2: exp(-at^2 / 2).
        const float w = k <= t.reach ? first(exp2_of(splat(-0.72134752f * at * at))) : 0.0f;
        t.weight[k] = w;
        sum += k == 0 ? w : 2 * w;
    }
    for (int k = 0; k <= DEFOCUS_REACH; ++k) t.weight[k] /= sum;
    return t;
}

// One direction of the defocus at pixels x, x + 1, ... of row y.
FN F blurred_across(const Picture& p, const Taps& t, int channel, int x, int y) {
    const float* row = row_of(p, p.linear, channel, y);
    F sum = t.weight[0] * take(row, x, p.size);
    for (int k = 1; k <= t.reach; ++k) {
        sum += t.weight[k] * (take(row, x - k, p.size) + take(row, x + k, p.size));
    }
    return sum;
}
FN F blurred_down(const Picture& p, const Taps& t, int channel, int x, int y) {
    F sum = t.weight[0] * take(row_of(p, p.blurred, channel, y), x, p.size);
    for (int k = 1; k <= t.reach; ++k) {
        const float* above = row_of(p, p.blurred, channel, row_within(y - k, p.size));
        const float* below = row_of(p, p.blurred, channel, row_within(y + k, p.size));
        sum += t.weight[k] * (take(above, x, p.size) + take(below, x, p.size));
    }
    return sum;
}

struct Motion {
    float x, y;  // [px] over the exposure
    bool moves;
};
FN Motion motion_of(const Picture& p) {
    const float x = p.lens[4], y = p.lens[5], squared = x * x + y * y;
    Motion m = {0, 0, squared > LEAST_MOTION * LEAST_MOTION && squared < 1e8f};
    if (m.moves) {
        const float length = first(root(splat(squared)));
        const float scale = length > MOST_MOTION ? MOST_MOTION / length : 1.0f;
        m.x = x * scale;
        m.y = y * scale;
    }
    return m;
}

// The mean of what pixels x, x + 1, ... of row y pass during the exposure.
FN F moved(const Picture& p, const Motion& m, int channel, int x, int y) {
    if (!m.moves) return take(row_of(p, p.linear, channel, y), x, p.size);
    F sum = splat(0.0f);
    for (int k = 0; k < MOTION_TAPS; ++k) {
        const float share = k / (MOTION_TAPS - 1.0f) - 0.5f;
        const float dx = share * m.x + 32.0f, dy = share * m.y + 32.0f;  // positive, to round down
        const int u = (int)dx, v = (int)dy;
        const float tx = dx - u, ty = dy - v;
        const float* top = row_of(p, p.linear, channel, row_within(y + v - 32, p.size));
        const float* low = row_of(p, p.linear, channel, row_within(y + v - 31, p.size));
        const int from = x + u - 32;
        sum += (1 - ty) * ((1 - tx) * take(top, from, p.size) + tx * take(top, from + 1, p.size));
        sum += ty * ((1 - tx) * take(low, from, p.size) + tx * take(low, from + 1, p.size));
    }
    return sum * (1.0f / MOTION_TAPS);
}

// A number of mean 0 and deviation 1, nearly normal: the sum of a hash's four bytes.
FN F nearly_normal(U hash) {
    U sum = (hash & 255u) + ((hash >> 8) & 255u) + ((hash >> 16) & 255u) + (hash >> 24);
    // 4 bytes: mean 510, variance 4 (256^2 - 1) / 12.
    return (to_float(as_int(sum)) - 510.0f) * 0.0067658947f;
}

// The picture's values, 0 to 255, at pixels x, x + 1, ... of row y.
FN V3<F> developed(const Picture& p, const Motion& m, int x, int y) {
    F column = to_float(splat_int(x) + lane_index());
    const float half = 0.5f * (p.size - 1), dy = y - half;
    F dx = column - half;
    F corner = (dx * dx + dy * dy) * (1.0f / (2.0f * half * half + 1e-6f));
    F gain = larger(splat(p.lens[0]), splat(0.0f)) * larger(1.0f - p.lens[7] * corner, splat(0.0f));
    F red = moved(p, m, 0, x, y) * gain, green = moved(p, m, 1, x, y) * gain;
    F blue = moved(p, m, 2, x, y) * gain;
    F grey = 0.2126f * red + 0.7152f * green + 0.0722f * blue;
    F light[3] = {mix(grey, red, splat(p.lens[2])), mix(grey, green, splat(p.lens[2])),
                  mix(grey, blue, splat(p.lens[2]))};
    const float curve = 1.0f / (p.lens[1] > 0.1f ? p.lens[1] : 0.1f);
    U pixel = as_unsigned(splat_int(y * p.size + x) + lane_index()) * 3u;
    F out[3];
    for (int k = 0; k < 3; ++k) {
        // What is negative has no power.
        F value = power(clamp(light[k], 0.0f, 1.0f), splat(curve));
        U hash = scramble((pixel + (unsigned)k) * 0x9e3779b1u ^ scramble(p.seed));
        out[k] = clamp(value + p.lens[6] * nearly_normal(hash), 0.0f, 1.0f) * 255.0f + 0.5f;
    }
    return {out[0], out[1], out[2]};
}
