// What a pixel shows, from the samples in it.
#pragma once

#include "geometry.h"

#define MOST_SUPERSAMPLE 4
#define SPREAD_LIMIT 4.0f  // [px] of depth, as wide as at that depth, within which samples agree

struct Pixel {
    int centre;   // triangle at the pixel's centre, -1 none
    float near;   // nearness there where the triangle does not hold the centre, otherwise 0
    int covered;  // how many samples show a triangle
    bool agree;   // all samples show the same smooth surface: it is shaded once
};

// Nearness of a drawn triangle at a place on the screen [samples], 0 where it does not reach.
FN float near_at(const Picture& p, int triangle, float x, float y) {
    const int* corners = p.faces + 3 * triangle;
    const float* at[3];
    for (int k = 0; k < 3; ++k) at[k] = p.screen + 3 * corners[k];
    float sum = 0, near = 0;
    for (int k = 0; k < 3; ++k) {
        const float *from = at[k], *to = at[k == 2 ? 0 : k + 1], *other = at[k == 0 ? 2 : k - 1];
        const float dx = to[1] - from[1], dy = from[0] - to[0];
        const float area = dx * (x - from[0]) + dy * (y - from[1]);
        if (area < -FATTEN * ((dx < 0 ? -dx : dx) + (dy < 0 ? -dy : dy))) return 0;
        sum += area;
        near += area * other[2];
    }
    return sum > 0 ? near / sum : 0;
}

FN Pixel resolve(const Picture& p, int u, int v) {
    const int n = p.supersample, count = n * n, across = samples_across(p);
    const int corner = v * n * across + u * n;
    Pixel out = {-1, 0, 0, false};
    const int start = triangle_at(p, corner);
    bool same = true;
    for (int j = 0; j < n; ++j) {
        for (int i = 0; i < n; ++i) {
            const int triangle = triangle_at(p, corner + j * across + i);
            out.covered += triangle >= 0;
            same = same && triangle == start;
        }
    }
    if (out.covered == 0) return out;
    if (same) {
        out.centre = start;
        out.agree = true;
        return out;
    }
    const float x = u * n + 0.5f * (n - 1), y = v * n + 0.5f * (n - 1);
    float least = 1e30f, most = 0, nearest = 0;
    int group = -1, tried = -1, front = -1;
    bool one_group = out.covered == count;
    for (int j = 0; j < n; ++j) {
        for (int i = 0; i < n; ++i) {
            const int at = corner + j * across + i, triangle = triangle_at(p, at);
            if (triangle < 0) continue;
            const float near = nearness_at(p, at);
            least = near < least ? near : least;
            if (near > most) {
                most = near;
                front = triangle;
            }
            if (triangle == tried) continue;
            tried = triangle;
            group = group < 0 ? p.face_group[triangle] : group;
            one_group = one_group && p.face_group[triangle] == group;
            const float centre = near_at(p, triangle, x, y);
            if (centre > nearest) {
                nearest = centre;
                out.centre = triangle;
            }
        }
    }
    // Depths differ by (most - least) / (most * least); a pixel is 1 / (fx * nearness) wide.
    out.agree = one_group && out.centre >= 0 &&
                (most - least) * p.camera[0] <= SPREAD_LIMIT * least;
    // The surface in front may be of triangles so small that none of these holds the centre.
    const int foremost = p.face_group[front];
    if (out.centre >= 0 && p.face_group[out.centre] == foremost) return out;
    int shown = 0;
    float sum = 0;
    for (int j = 0; j < n; ++j) {
        for (int i = 0; i < n; ++i) {
            const int at = corner + j * across + i, triangle = triangle_at(p, at);
            if (triangle < 0 || p.face_group[triangle] != foremost) continue;
            ++shown;
            sum += nearness_at(p, at);
        }
    }
    if (2 * shown > count) {
        out.centre = front;
        out.near = sum / shown;
    }
    return out;
}

// Place of sample i of those in a row of a pixel, from its centre [px].
FN float sample_offset(int supersample, int i) { return (i + 0.5f) / supersample - 0.5f; }
