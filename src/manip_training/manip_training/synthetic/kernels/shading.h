// The light that a point of a surface sends to the camera.
#pragma once

#include "geometry.h"
#include "noise.h"

#define OCCLUSION_RADIUS 0.035f  // [m] within which surfaces dim each other's ambient light
#define OCCLUSION_SAMPLES 8
#define OCCLUSION_STRENGTH 1.8f
#define SHADOW_LIFT 1.5f         // [texels] along the normal, against shadows of a surface on itself
#define SHADOW_BIAS 0.001f       // [m] towards the light
#define SKIN_DEPTH 0.006f        // [m] of soft materials that light passes, times wrap
#define BUMP_STEEPNESS 0.5f

// Where the ray through a place of the picture [px] meets a triangle; where it misses by a little,
// the nearest in it along its edges.
struct Hit {
    I corner[3];
    F share[3];
    V3<F> place;
};
FN V3<F> spread(const Hit& h, const float* values) {
    V3<F> sum = times(gather3(values, h.corner[0]), h.share[0]);
    sum = plus(sum, times(gather3(values, h.corner[1]), h.share[1]));
    return plus(sum, times(gather3(values, h.corner[2]), h.share[2]));
}
FN Hit meet(const Picture& p, I triangle, F x, F y) {
    Hit h;
    for (int k = 0; k < 3; ++k) h.corner[k] = gather_int(p.faces, triangle * 3 + k);
    V3<F> a = gather3(p.vertices, h.corner[0]);
    V3<F> ab = minus(gather3(p.vertices, h.corner[1]), a);
    V3<F> ac = minus(gather3(p.vertices, h.corner[2]), a);
    V3<F> ray = {(x - p.camera[2]) / p.camera[0], (y - p.camera[3]) / p.camera[1], splat(1.0f)};
    V3<F> across = cross(ray, ac);
    F volume = dot(ab, across);
    F inverse = 1.0f / pick(magnitude(volume) > 1e-20f, volume, splat(1.0f));
    h.share[1] = clamp(-dot(a, across) * inverse, 0.0f, 1.0f);
    h.share[2] = clamp(dot(ray, cross(ab, a)) * inverse, 0.0f, 1.0f);
    h.share[2] = smaller(h.share[2], 1.0f - h.share[1]);
    h.share[0] = 1.0f - h.share[1] - h.share[2];
    h.place = plus(a, plus(times(ab, h.share[1]), times(ac, h.share[2])));
    return h;
}

struct Surface {
    V3<F> place, normal, texture, colour;
    I part;
};
FN Surface surface_at(const Picture& p, I triangle, F x, F y) {
    const Hit h = meet(p, triangle, x, y);
    Surface s = {h.place, spread(h, p.normals), spread(h, p.texture), spread(h, p.colour),
                 gather_int(p.face_part, triangle)};
    s.normal = times(s.normal, 1.0f / root(dot(s.normal, s.normal) + 1e-20f));
    return s;
}

// Share of ambient light that reaches a point, from the nearness around it on the screen.
FN F ambient_share(const Picture& p, const Surface& s) {
    const int across = samples_across(p), step = p.supersample;
    const float first = -0.5f + 0.5f / p.supersample;  // [px] of a pixel's first sample
    F inverse = 1.0f / s.place.z;
    F x = s.place.x * inverse * p.camera[0] + p.camera[2];
    F y = s.place.y * inverse * p.camera[1] + p.camera[3];
    F reach = smaller(OCCLUSION_RADIUS * p.camera[0] * inverse, splat(0.2f * p.size));
    // Points of a disc, evenly: a spiral of golden angles.
    const float turns_x[OCCLUSION_SAMPLES] = {0.2500f, -0.3193f, 0.0489f, 0.4024f,
                                              -0.7385f, 0.6996f, -0.2340f, -0.4463f};
    const float turns_y[OCCLUSION_SAMPLES] = {0.0f, 0.2925f, -0.5569f, 0.5249f,
                                              -0.1306f, -0.4450f, 0.8705f, -0.8593f};
    F hidden = splat(0.0f);
    for (int k = 0; k < OCCLUSION_SAMPLES; ++k) {
        I u = clamp_int(to_int(clamp(x + reach * turns_x[k] + 0.5f, 0.0f, 8192.0f)), 0, p.size - 1);
        I v = clamp_int(to_int(clamp(y + reach * turns_y[k] + 0.5f, 0.0f, 8192.0f)), 0, p.size - 1);
        F near = camera_near_at(p, v * (step * across) + u * step);
        F z = 1.0f / larger(near, splat(1e-4f));
        V3<F> to = {(to_float(u) + first - p.camera[2]) / p.camera[0] * z - s.place.x,
                    (to_float(v) + first - p.camera[3]) / p.camera[1] * z - s.place.y,
                    z - s.place.z};
        F squared = dot(to, to) + 1e-8f;
        const float scale = 1.0f / (OCCLUSION_RADIUS * OCCLUSION_RADIUS);
        F range = clamp(1.0f - squared * scale, 0.0f, 1.0f);
        F above = clamp(dot(to, s.normal) / root(squared) - 0.1f, 0.0f, 1.0f);
        hidden += above * range;
    }
    return clamp(1.0f - hidden * (OCCLUSION_STRENGTH / OCCLUSION_SAMPLES), 0.0f, 1.0f);
}

// Share of the first light that reaches a point: 3 by 3 comparisons, smoothed between texels.
FN F light_share(const Picture& p, const LightView& view, const Surface& s, F wrap) {
    if (view.scale == 0) return splat(1.0f);
    V3<F> at = light_place(view, plus(s.place, times(s.normal, SHADOW_LIFT * view.texel)));
    F facing = clamp(dot(s.normal, view.frame.towards), 0.0f, 1.0f);
    F height = at.z + SHADOW_BIAS + SKIN_DEPTH * wrap * (1.0f - facing);
    F left = floor_of(clamp(at.x, -4.0f, SHADOW_SIZE + 4.0f));
    F top = floor_of(clamp(at.y, -4.0f, SHADOW_SIZE + 4.0f));
    F tx = clamp(at.x - left, 0.0f, 1.0f), ty = clamp(at.y - top, 0.0f, 1.0f);
    I u = to_int(left), v = to_int(top);
    F lit = splat(0.0f);
    for (int j = 0; j < 4; ++j) {
        F row = splat(0.0f);
        I y = v + (j - 1);
        for (int i = 0; i < 4; ++i) {
            I x = u + (i - 1);
            I texel = clamp_int(y, 0, SHADOW_SIZE - 1) * SHADOW_SIZE;
            F near = light_near_at(p, texel + clamp_int(x, 0, SHADOW_SIZE - 1));
            M outside = (x < 0) | (x >= SHADOW_SIZE) | (y < 0) | (y >= SHADOW_SIZE);
            F open = pick(outside | (near <= height), splat(1.0f), splat(0.0f));
            row += i == 0 ? open * (1.0f - tx) : i == 3 ? open * tx : open;
        }
        lit += j == 0 ? row * (1.0f - ty) : j == 3 ? row * ty : row;
    }
    return lit * (1.0f / 9.0f);
}

// The second colour's share, and the normal unevenness tilts.
FN F pattern_share(const Picture& p, const float* material, I row, Surface& s) {
    F pattern = gather(material, row), frequency = gather(material, row + 1);
    F bump = gather(material, row + 9);
    U seed = scramble(as_unsigned(splat_int((int)p.seed)) * 0x9e3779b1u ^ as_unsigned(s.part));
    V3<F> place = times(s.texture, frequency);
    place.x += share_of(scramble(seed ^ 5u));
    place.y += share_of(scramble(seed ^ 6u));
    place.z += share_of(scramble(seed ^ 7u));
    F rate = frequency * s.place.z / p.camera[0];
    M is_cloud = pattern == 1.0f, is_stripes = pattern == 2.0f;
    Noise cloud = {splat(0.5f), {splat(0.0f), splat(0.0f), splat(0.0f)}};
    if (some(is_cloud | is_stripes | (bump > 0.0f))) cloud = cloudy_noise(place, seed, rate);
    V3<F> n = s.normal;
    V3<F> tilt = times(cloud.gradient, bump * BUMP_STEEPNESS);
    F along = dot(tilt, n);
    n = minus(n, minus(tilt, times(n, along)));
    s.normal = times(n, 1.0f / root(dot(n, n) + 1e-20f));
    F share = pick(is_cloud, smooth_step(cloud.value, splat(0.5f), splat(0.2f)), splat(0.0f));
    if (some(is_stripes)) share = pick(is_stripes, stripes(place, cloud.value, seed, rate), share);
    M is_checks = pattern == 3.0f, is_speckles = pattern == 4.0f;
    if (some(is_checks)) share = pick(is_checks, checks(place, rate), share);
    if (some(is_speckles)) share = pick(is_speckles, speckles(place, seed, rate), share);
    return share * gather(material, row + 2);
}

// Diffuse light of a surface of this slant; below the horizon it fades over `wrap`.
FN F diffuse(F slant, F wrap) { return larger((slant + wrap) / (1.0f + wrap), splat(0.0f)); }

// Linear light of a point of a triangle towards the camera; z receives its depth [m].
FN V3<F> shade(const Picture& p, const LightView& view, I triangle, F x, F y) {
    Surface s = surface_at(p, triangle, x, y);
    const float* material = p.material;
    I row = s.part * MATERIALS;
    F wrap = gather(material, row + 8);
    F open = ambient_share(p, s);
    F lit = light_share(p, view, s, wrap);
    F second = pattern_share(p, material, row, s);
    V3<F> albedo = {mix(s.colour.x, gather(material, row + 3), second),
                    mix(s.colour.y, gather(material, row + 4), second),
                    mix(s.colour.z, gather(material, row + 5), second)};
    V3<F> n = s.normal;
    V3<F> towards = times(s.place, -1.0f / root(dot(s.place, s.place) + 1e-20f));

    // Ambient light between ground and sky; what a crevice loses it gets back in part from its own
    // walls, in their colour.
    F height = 0.5f + 0.5f * dot(n, load3(p.up));
    V3<F> light = {mix(splat(p.ground[0]), splat(p.sky[0]), height),
                   mix(splat(p.ground[1]), splat(p.sky[1]), height),
                   mix(splat(p.ground[2]), splat(p.sky[2]), height)};
    F closed = 1.0f - open;
    light.x *= open / (1.0f - smaller(albedo.x, splat(0.95f)) * closed);
    light.y *= open / (1.0f - smaller(albedo.y, splat(0.95f)) * closed);
    light.z *= open / (1.0f - smaller(albedo.z, splat(0.95f)) * closed);

    // Through skin red gets farther than green and blue: around the terminator, and into shadows.
    F part_open = 0.7f + 0.3f * open;
    F strength = gather(material, row + 6), shininess = gather(material, row + 7);
    V3<F> shine = {splat(0.0f), splat(0.0f), splat(0.0f)};
    for (int k = 0; k < NUM_LIGHTS; ++k) {
        const float* lamp = p.lights + 6 * k;
        const V3<float> to = load3(lamp);
        F slant = dot(n, to);
        F direct = k == 0 ? part_open * lit : part_open;
        F pale = k == 0 ? mix(splat(1.0f), lit, 0.5f * wrap) : splat(1.0f);
        V3<F> half = plus(towards, to);
        half = times(half, 1.0f / root(dot(half, half) + 1e-20f));
        F gloss = strength * power(larger(dot(n, half), splat(0.0f)), shininess);
        gloss = gloss * clamp(4.0f * slant, 0.0f, 1.0f) * direct;
        light.x += lamp[3] * direct * diffuse(slant, wrap);
        light.y += lamp[4] * direct * pale * diffuse(slant, 0.6f * wrap);
        light.z += lamp[5] * direct * pale * diffuse(slant, 0.5f * wrap);
        shine = plus(shine, V3<F>{gloss * lamp[3], gloss * lamp[4], gloss * lamp[5]});
    }
    V3<F> out = {albedo.x * light.x + shine.x, albedo.y * light.y + shine.y,
                 albedo.z * light.z + shine.z};
    // Also where it is not a number.
    return {clamp(out.x, 0.0f, 1e3f), clamp(out.y, 0.0f, 1e3f), clamp(out.z, 0.0f, 1e3f)};
}
