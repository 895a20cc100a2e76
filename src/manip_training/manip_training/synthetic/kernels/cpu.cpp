// The kernels on a CPU: threads take one image after the other.
#include <time.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "picture.h"
#include "resolve.h"
#include "shading.h"

namespace {

// Work areas of a thread, one after the other in floats.
struct Areas {
    long long normals, screen, linear, blurred, camera_near, camera_triangle, light_near, total;
};
Areas areas_of(int num_vertices, int size, int supersample) {
    const long long samples = (long long)size * supersample * size * supersample;
    const long long planes = 3LL * size * row_stride(size);
    const long long pad = 2 * LANES;  // whole vectors are read and written across the ends
    Areas a;
    long long next = 0;
    auto take_area = [&next, pad](long long floats) {
        const long long at = next;
        next += (floats + pad + 15) / 16 * 16;
        return at;
    };
    a.normals = take_area(3LL * num_vertices);
    a.screen = take_area(6LL * num_vertices);
    a.linear = take_area(planes);
    a.blurred = take_area(planes);
    a.camera_near = take_area(samples);
    a.camera_triangle = take_area(samples);
    a.light_near = take_area(SHADOW_SIZE * SHADOW_SIZE);
    a.total = next;
    return a;
}

void prepare_vertices(Picture& p, unsigned bounds[4]) {
    p.bounds = bounds;
    U most[4] = {};
    const LightFrame frame = light_frame(p);
    for (int base = 0; base < p.num_vertices; base += LANES) {
        I vertex = clamp_int(base + lane_index(), 0, p.num_vertices - 1);
        U found[4];
        M casts = shadow_bounds(p, frame, vertex, found);
        for (int k = 0; k < 4; ++k) most[k] = casts & (found[k] > most[k]) ? found[k] : most[k];
    }
    for (int k = 0; k < 4; ++k) {
        bounds[k] = 0;
        for (int lane = 0; lane < LANES; ++lane) {
            bounds[k] = most[k][lane] > bounds[k] ? most[k][lane] : bounds[k];
        }
    }
    const LightView view = light_view(p);
    float* lit = p.screen + 3 * p.num_vertices;
    for (int base = 0; base < p.num_vertices; base += LANES) {
        I vertex = clamp_int(base + lane_index(), 0, p.num_vertices - 1);
        const VertexPlace at = place_vertex(p, view, vertex);
        const int count = p.num_vertices - base < LANES ? p.num_vertices - base : LANES;
        const F values[9] = {at.seen.x, at.seen.y, at.seen.z, at.lit.x, at.lit.y,
                             at.lit.z,  at.normal.x, at.normal.y, at.normal.z};
        float* to[3] = {p.screen + 3 * base, lit + 3 * base, p.normals + 3 * base};
        for (int k = 0; k < 9; ++k) {
            for (int lane = 0; lane < count; ++lane) to[k / 3][3 * lane + k % 3] = values[k][lane];
        }
    }
}

// The samples of a triangle, a vector of a row at a time.
void fill(const Triangle& t, int triangle, int width, float* near, int* shown) {
    const F lanes = to_float(lane_index());
    for (int y = t.top; y <= t.bottom; ++y) {
        for (int x = t.left; x <= t.right; x += LANES) {
            const F column = float(x) + lanes;
            float* at = near + y * width + x;
            const F old = load(at);
            const F value = cover(t, column, splat(float(y)));
            const M wins = (value > old) & (column <= float(t.right));
            if (!some(wins)) continue;
            store(at, pick(wins, value, old));
            if (shown) {
                I was;
                int* place = shown + y * width + x;
                std::memcpy(&was, place, sizeof was);
                was = pick_int(wins, splat_int(triangle), was);
                std::memcpy(place, &was, sizeof was);
            }
        }
    }
}

// Which triangles of the list may be seen: turned to the viewer and on the screen.
unsigned candidates(const Picture& p, const float* screen, int base, float width) {
    const I face = clamp_int(base + lane_index(), 0, p.num_faces - 1) * 3;
    F x[3], y[3];
    for (int k = 0; k < 3; ++k) {
        const I at = gather_int(p.faces, face + k) * 3;
        x[k] = gather(screen, at);
        y[k] = gather(screen, at + 1);
    }
    const F left = smaller(smaller(x[0], x[1]), x[2]), right = larger(larger(x[0], x[1]), x[2]);
    const F top = smaller(smaller(y[0], y[1]), y[2]), bottom = larger(larger(y[0], y[1]), y[2]);
    const F area = (y[1] - y[0]) * (x[2] - x[0]) - (x[1] - x[0]) * (y[2] - y[0]);
    const M reaches = (right > -1.0f) & (left < width) & (bottom > -1.0f) & (top < width);
    const M known = (base + lane_index()) < p.num_faces;
    return mask_bits((area > LEAST_AREA) & reaches & known);
}

void draw(const Picture& p, const float* screen, int width, float* near, int* shown) {
    for (int base = 0; base < p.num_faces; base += LANES) {
        unsigned left = candidates(p, screen, base, float(width));
        while (left) {
            const int triangle = base + __builtin_ctz(left);
            left &= left - 1;
            Triangle t;
            if (set_up(screen, p.faces + 3 * triangle, width, t)) {
                fill(t, triangle, width, near, shown);
            }
        }
    }
}

// Points to shade, collected until they fill whole vectors.
struct Points {
    static constexpr int ROOM = 1024;
    int count = 0;
    int triangle[ROOM + LANES];
    int pixel[ROOM + LANES];  // of the linear picture's first plane
    float x[ROOM + LANES], y[ROOM + LANES], weight[ROOM + LANES];

    void add(int face, float u, float v, float share, int at) {
        triangle[count] = face;
        x[count] = u;
        y[count] = v;
        weight[count] = share;
        pixel[count++] = at;
    }
    void flush(const Picture& p, const LightView& view) {
        const int planes = p.size * row_stride(p.size);
        for (int k = count; k < count + LANES; ++k) {
            triangle[k] = count ? triangle[count - 1] : 0;
            x[k] = y[k] = 0;
        }
        for (int base = 0; base < count; base += LANES) {
            I face;
            std::memcpy(&face, triangle + base, sizeof face);
            const V3<F> light = shade(p, view, face, load(x + base), load(y + base));
            const int some = count - base < LANES ? count - base : LANES;
            for (int k = 0; k < some; ++k) {
                float* to = p.linear + pixel[base + k];
                const float share = weight[base + k];
                to[0] += share * light.x[k];
                to[planes] += share * light.y[k];
                to[2 * planes] += share * light.z[k];
            }
        }
        count = 0;
    }
};

// Rows of a picture go through this: what their pixels show, and the share that shows nothing.
struct Row {
    std::vector<Pixel> pixels;
    std::vector<int> centre;
    std::vector<float> empty;
};

// Resolves a row, writes its depth and parts, and its background into the linear picture.
void begin_row(const Picture& p, const BankLevel& level, const Turn& turn, int v, Row& row) {
    const float samples = float(p.supersample * p.supersample);
    for (int u = 0; u < p.size; ++u) {
        const Pixel pixel = row.pixels[u] = resolve(p, u, v);
        row.centre[u] = pixel.centre < 0 ? 0 : pixel.centre;
        row.empty[u] = 1.0f - pixel.covered / samples;
    }
    for (int base = 0; base < p.size; base += LANES) {
        const F x = float(base) + to_float(lane_index());
        const int count = p.size - base < LANES ? p.size - base : LANES;
        const F empty = load(&row.empty[base]);
        V3<F> light = {};
        if (some(empty > 0.0f)) light = background_at(p, level, turn, x, splat(float(v)));
        F z = {};
        if (some(empty < 1.0f)) {
            I triangle;
            std::memcpy(&triangle, &row.centre[base], sizeof triangle);
            z = meet(p, triangle, x, splat(float(v))).place.z;
        }
        store(row_of(p, p.linear, 0, v) + base, light.x * empty);
        store(row_of(p, p.linear, 1, v) + base, light.y * empty);
        store(row_of(p, p.linear, 2, v) + base, light.z * empty);
        for (int k = 0; k < count; ++k) {
            const int u = base + k, at = v * p.size + (p.mirror ? p.size - 1 - u : u);
            const Pixel& pixel = row.pixels[u];
            const bool shown = pixel.centre >= 0;
            p.part[at] = shown ? (unsigned char)(1 + p.face_part[pixel.centre]) : 0;
            p.depth[at] = pixel.near > 0 ? 1.0f / pixel.near : shown ? z[k] : 0.0f;
        }
    }
}

void shade_picture(const Picture& p, const LightView& view, Row& row, Points& points) {
    const int n = p.supersample, samples = n * n;
    const BankLevel level = bank_level(p);
    const Turn turn = background_turn(p);
    row.pixels.resize(p.size);
    row.centre.assign(p.size + LANES, 0);
    row.empty.assign(p.size + LANES, 0.0f);
    for (int v = 0; v < p.size; ++v) {
        begin_row(p, level, turn, v, row);
        const int start = int(row_of(p, p.linear, 0, v) - p.linear);
        for (int u = 0; u < p.size; ++u) {
            const Pixel& pixel = row.pixels[u];
            if (points.count + samples > Points::ROOM) points.flush(p, view);
            if (pixel.agree) {
                points.add(pixel.centre, float(u), float(v), 1.0f, start + u);
            } else if (pixel.covered) {
                for (int k = 0; k < samples; ++k) {
                    const int at = (v * n + k / n) * samples_across(p) + u * n + k % n;
                    const int triangle = triangle_at(p, at);
                    if (triangle < 0) continue;
                    points.add(triangle, u + sample_offset(n, k % n), v + sample_offset(n, k / n),
                               1.0f / samples, start + u);
                }
            }
        }
    }
    points.flush(p, view);
}

// The borders beside the rows repeat their ends.
void fill_borders(const Picture& p, float* planes) {
    for (int row = 0; row < 3 * p.size; ++row) {
        float* at = row_of(p, planes, 0, row);
        for (int k = 1; k <= BORDER; ++k) {
            at[-k] = at[0];
            at[p.size + k - 1] = at[p.size - 1];
        }
    }
}

void defocus_picture(const Picture& p, float sigma) {
    const Taps taps = gaussian_taps(sigma);
    fill_borders(p, p.linear);
    for (int row = 0; row < 3 * p.size; ++row) {
        float* to = row_of(p, p.blurred, 0, row);
        for (int x = 0; x < p.size; x += LANES) store(to + x, blurred_across(p, taps, 0, x, row));
    }
    for (int channel = 0; channel < 3; ++channel) {
        for (int y = 0; y < p.size; ++y) {
            float* to = row_of(p, p.linear, channel, y);
            for (int x = 0; x < p.size; x += LANES) {
                store(to + x, blurred_down(p, taps, channel, x, y));
            }
        }
    }
}

void develop_picture(const Picture& p) {
    const Motion motion = motion_of(p);
    if (motion.moves) fill_borders(p, p.linear);
    for (int y = 0; y < p.size; ++y) {
        for (int x = 0; x < p.size; x += LANES) {
            const V3<F> values = developed(p, motion, x, y);
            const F planes[3] = {values.x, values.y, values.z};
            const int count = p.size - x < LANES ? p.size - x : LANES;
            for (int channel = 0; channel < 3; ++channel) {
                unsigned char* row = p.image + (channel * p.size + y) * p.size;
                const I bytes = to_int(planes[channel]);
                for (int k = 0; k < count; ++k) {
                    row[p.mirror ? p.size - 1 - x - k : x + k] = (unsigned char)bytes[k];
                }
            }
        }
    }
}

// Processor time of this thread [ns].
long long now() {
    timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return 1000000000LL * at.tv_sec + at.tv_nsec;
}

void render_image(const Scene& s, int image, float* work, Row& row, Points& points,
                  std::atomic<long long>* spent) {
    const long long begun = now();
    const Areas a = areas_of(s.num_vertices, s.size, s.supersample);
    Picture p = picture_of(s, image);
    p.normals = work + a.normals;
    p.screen = work + a.screen;
    p.linear = work + a.linear;
    p.blurred = work + a.blurred;
    p.camera_near = work + a.camera_near;
    p.camera_triangle = reinterpret_cast<int*>(work + a.camera_triangle);
    p.light_near = work + a.light_near;
    unsigned bounds[4];
    prepare_vertices(p, bounds);
    const LightView view = light_view(p);
    const long long placed = now();
    const int width = samples_across(p);
    std::memset(p.camera_near, 0, sizeof(float) * width * width);
    std::memset(p.camera_triangle, 0xff, sizeof(int) * width * width);
    std::memset(p.light_near, 0, sizeof(float) * SHADOW_SIZE * SHADOW_SIZE);
    draw(p, p.screen, width, p.camera_near, p.camera_triangle);
    if (view.scale > 0) {
        draw(p, p.screen + 3 * p.num_vertices, SHADOW_SIZE, p.light_near, nullptr);
    }
    const long long drawn = now();
    shade_picture(p, view, row, points);
    const long long shaded = now();
    const float sigma = defocus(p);
    if (sigma > 0) defocus_picture(p, sigma);
    develop_picture(p);
    spent[0] += placed - begun;
    spent[1] += drawn - placed;
    spent[2] += shaded - drawn;
    spent[3] += now() - shaded;
}

}  // namespace

extern "C" {

// To be checked against the structure that Python fills.
int scene_bytes() { return (int)sizeof(Scene); }

// Work area of a thread [floats].
long long work_floats(int num_vertices, int size, int supersample) {
    return areas_of(num_vertices, size, supersample).total;
}

// Draws all images. `spent` receives the processor time of all threads in vertices, triangles,
// light and lens [ns].
void render(const Scene* scene, float* work, int threads, long long* spent) {
    const Scene& s = *scene;
    const long long room = work_floats(s.num_vertices, s.size, s.supersample);
    std::atomic<int> next{0};
    std::atomic<long long> stages[4] = {};
    auto worker = [&](int thread) {
        Row row;
        auto points = std::make_unique<Points>();
        for (int image = next++; image < s.images; image = next++) {
            render_image(s, image, work + thread * room, row, *points, stages);
        }
    };
    std::vector<std::thread> others;
    for (int k = 1; k < threads; ++k) others.emplace_back(worker, k);
    worker(0);
    for (std::thread& other : others) other.join();
    for (int k = 0; k < 4; ++k) spent[k] = stages[k];
}

}  // extern "C"
