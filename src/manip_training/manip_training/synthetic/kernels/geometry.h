// From vertices to the screen, to the shadow map and to triangles ready to be filled.
#pragma once

#include "scene.h"

#define FATTEN 1e-3f     // [samples] edges are moved out by this, so that neighbours leave no crack
#define LEAST_AREA 1e-4f // [samples^2] twice the area of the smallest triangle drawn
#define CAST_MARGIN 0.25f // share of the picture beside it in which what is there casts shadows

// Directions across the shadow map, and towards the first light; right, down and away from the
// light are a right-handed frame, as those of a camera.
struct LightFrame {
    V3<float> right, down, towards;
};

// The shadow map: texel = (position . right, down - origin) * scale.
struct LightView {
    LightFrame frame;
    float origin_right, origin_down, scale, texel;  // [m, m, texels/m, m]; scale 0: no map
};

FN float scalar_root(float value) {
#ifdef MANIP_CUDA
    return sqrtf(value);
#else
    return std::sqrt(value);
#endif
}

FN LightFrame light_frame(const Picture& p) {
    V3<float> l = load3(p.lights);
    const float squared = dot(l, l);
    // Also where it is not a number.
    if (!(squared > 1e-6f && squared < 1e6f)) l = {0.0f, -1.0f, 0.0f};
    l = times(l, 1.0f / scalar_root(dot(l, l)));
    const V3<float> away = {-l.x, -l.y, -l.z};
    const float x = l.x < 0 ? -l.x : l.x;
    const V3<float> other = x < 0.6f ? V3<float>{1, 0, 0} : V3<float>{0, 1, 0};
    V3<float> right = cross(other, away);
    right = times(right, 1.0f / scalar_root(dot(right, right)));
    return {right, cross(away, right), l};
}

// Floats as unsigned numbers of the same order; 0 is below all of them.
FN U ordered(F value) {
    I bits = bits_of(value);
    return as_unsigned(bits ^ ((bits >> 31) | splat_int((int)0x80000000u)));
}
FN float unordered(unsigned value) {
    const unsigned bits = value & 0x80000000u ? value ^ 0x80000000u : ~value;
#ifdef MANIP_CUDA
    return __uint_as_float(bits);
#else
    float out;
    std::memcpy(&out, &bits, 4);
    return out;
#endif
}

// Where a vertex is in the picture [px], and 1/z; NO_PLACE for what cannot be drawn.
FN V3<F> project(const Picture& p, V3<F> v) {
    M fine = (v.z > NEAR_LIMIT) & (v.z < 1e4f);
    F inverse = 1.0f / pick(fine, v.z, splat(1.0f));
    F x = v.x * inverse * p.camera[0] + p.camera[2];
    F y = v.y * inverse * p.camera[1] + p.camera[3];
    fine = fine & (magnitude(x) < FAR_AWAY) & (magnitude(y) < FAR_AWAY);
    F nowhere = splat(NO_PLACE);
    return {pick(fine, x, nowhere), pick(fine, y, nowhere), pick(fine, inverse, splat(0.0f))};
}

// First stage, all vertices: what may cast shadows. Returns whether vertices do, and the extent of
// those along right and down as ordered numbers: the largest of (x, y, -x, -y).
FN M shadow_bounds(const Picture& p, const LightFrame& frame, I vertex, U found[4]) {
    V3<F> v = gather3(p.vertices, vertex);
    V3<F> seen = project(p, v);
    const float low = -CAST_MARGIN * p.size, high = (1 + CAST_MARGIN) * p.size;
    M casts = (seen.x > low) & (seen.x < high) & (seen.y > low) & (seen.y < high);
    F x = dot(v, frame.right), y = dot(v, frame.down);
    found[0] = ordered(x);
    found[1] = ordered(y);
    found[2] = ordered(-x);
    found[3] = ordered(-y);
    return casts;
}

FN LightView light_view(const Picture& p) {
    LightView view;
    view.frame = light_frame(p);
    if (p.bounds[0] == 0) {
        view.origin_right = view.origin_down = view.scale = view.texel = 0;
        return view;
    }
    const float right = unordered(p.bounds[0]), down = unordered(p.bounds[1]);
    const float left = -unordered(p.bounds[2]), up = -unordered(p.bounds[3]);
    const float wide = right - left, high = down - up;
    float extent = wide > high ? wide : high;
    extent = extent > 1e-3f ? extent : 1e-3f;
    view.scale = (SHADOW_SIZE - 6) / extent;
    view.texel = extent / (SHADOW_SIZE - 6);
    const float half = 0.5f * (SHADOW_SIZE - 1) * view.texel;
    view.origin_right = 0.5f * (left + right) - half;
    view.origin_down = 0.5f * (up + down) - half;
    return view;
}

// Position on the shadow map [texels], and height towards the light [m], positive.
FN V3<F> light_place(const LightView& view, V3<F> v) {
    F x = (dot(v, view.frame.right) - view.origin_right) * view.scale;
    F y = (dot(v, view.frame.down) - view.origin_down) * view.scale;
    return {x, y, larger(dot(v, view.frame.towards) + LIGHT_HEIGHT, splat(1e-3f))};
}

// Mean of the faces around a vertex by area; those that are not numbers do not count.
FN V3<F> vertex_normal(const Picture& p, I vertex, V3<F> v) {
    I at = gather_int(p.ring_start, vertex), end = gather_int(p.ring_start, vertex + 1);
    V3<F> sum = {splat(0.0f), splat(0.0f), splat(0.0f)};
    const int last = p.num_faces * 3 - 1;
    while (some(at < end)) {
        I pair = clamp_int(at, 0, last) * 2;
        V3<F> a = gather3(p.vertices, gather_int(p.ring, pair));
        V3<F> b = gather3(p.vertices, gather_int(p.ring, pair + 1));
        V3<F> area = cross(minus(a, v), minus(b, v));
        M counts = (at < end) & (dot(area, area) < 1e6f);
        F none = splat(0.0f);
        sum.x += pick(counts, area.x, none);
        sum.y += pick(counts, area.y, none);
        sum.z += pick(counts, area.z, none);
        at += 1;
    }
    return times(sum, 1.0f / root(dot(sum, sum) + 1e-30f));
}

// Second stage, all vertices: places on screen [samples] and shadow map, and the normal.
struct VertexPlace {
    V3<F> seen, lit, normal;
};
FN VertexPlace place_vertex(const Picture& p, const LightView& view, I vertex) {
    V3<F> v = gather3(p.vertices, vertex);
    VertexPlace out;
    out.seen = project(p, v);
    M fine = out.seen.z > 0.0f;
    const float grid = p.supersample, shift = 0.5f * (p.supersample - 1);
    F nowhere = splat(NO_PLACE);
    out.seen.x = pick(fine, out.seen.x * grid + shift, nowhere);
    out.seen.y = pick(fine, out.seen.y * grid + shift, nowhere);
    out.lit = light_place(view, v);
    fine = fine & (splat(view.scale) > 0.0f);
    out.lit.x = pick(fine, out.lit.x, nowhere);
    out.normal = vertex_normal(p, vertex, v);
    return out;
}

// A triangle on a screen: the area that each of its edges spans with a sample, positive inside, and
// nearness, linear across it.
struct Triangle {
    float x[3], y[3], dx[3], dy[3], slack[3];
    float near, near_dx, near_dy, least, most;
    int left, right, top, bottom;
};

FN float least3(float a, float b, float c) {
    const float d = a < b ? a : b;
    return d < c ? d : c;
}
FN float most3(float a, float b, float c) {
    const float d = a > b ? a : b;
    return d > c ? d : c;
}
FN int first_sample(float low) {
    const float from = low - FATTEN;
    if (from <= 0) return 0;
    const int whole = (int)from;
    return whole < from ? whole + 1 : whole;
}

// Whether the outside of a triangle is seen and reaches a sample of a screen `width` samples wide.
FN bool set_up(const float* screen, const int* corners, int width, Triangle& t) {
    const float *a = screen + 3 * corners[0], *b = screen + 3 * corners[1];
    const float* c = screen + 3 * corners[2];
    const float *places[3] = {a, b, c};
    for (int k = 0; k < 3; ++k) {
        t.x[k] = places[k][0];
        t.y[k] = places[k][1];
        if (!(t.x[k] > -2 * FAR_AWAY && t.x[k] < 2 * FAR_AWAY)) return false;
        if (!(t.y[k] > -2 * FAR_AWAY && t.y[k] < 2 * FAR_AWAY)) return false;
    }
    const float bx = t.x[1] - t.x[0], by = t.y[1] - t.y[0];
    const float cx = t.x[2] - t.x[0], cy = t.y[2] - t.y[0];
    const float area = by * cx - bx * cy;
    if (!(area > LEAST_AREA)) return false;
    const float right = most3(t.x[0], t.x[1], t.x[2]), bottom = most3(t.y[0], t.y[1], t.y[2]);
    if (!(right > -1 && bottom > -1)) return false;
    t.left = first_sample(least3(t.x[0], t.x[1], t.x[2]));
    t.top = first_sample(least3(t.y[0], t.y[1], t.y[2]));
    t.right = right + FATTEN < width - 1 ? (int)(right + FATTEN) : width - 1;
    t.bottom = bottom + FATTEN < width - 1 ? (int)(bottom + FATTEN) : width - 1;
    if (t.left > t.right || t.top > t.bottom) return false;
    for (int k = 0; k < 3; ++k) {
        const int next = k == 2 ? 0 : k + 1;
        t.dx[k] = t.y[next] - t.y[k];
        t.dy[k] = t.x[k] - t.x[next];
        const float x = t.dx[k] < 0 ? -t.dx[k] : t.dx[k], y = t.dy[k] < 0 ? -t.dy[k] : t.dy[k];
        t.slack[k] = FATTEN * (x + y);
    }
    const float nb = b[2] - a[2], nc = c[2] - a[2];
    t.near = a[2];
    t.near_dx = (by * nc - cy * nb) / area;
    t.near_dy = (cx * nb - bx * nc) / area;
    t.least = least3(a[2], b[2], c[2]);
    t.most = most3(a[2], b[2], c[2]);
    return true;
}

// Nearness of a triangle at a sample, below 0 where it does not reach.
FN F cover(const Triangle& t, F x, F y) {
    M inside = splat(0.0f) <= 0.0f;
    for (int k = 0; k < 3; ++k) {
        inside = inside & (t.dx[k] * (x - t.x[k]) + t.dy[k] * (y - t.y[k]) >= -t.slack[k]);
    }
    F near = t.near + t.near_dx * (x - t.x[0]) + t.near_dy * (y - t.y[0]);
    return pick(inside, clamp(near, t.least, t.most), splat(-1.0f));
}
