/* The GPUs of a scenario file: what they are, and their power at any time, as its integral.
 *
 * tests/nvml/standin.py writes the file: one fact a line, the first word says which; those after `device` are of that
 * device. Time is CLOCK_MONOTONIC less the scenario's epoch, so that all processes of a machine see the same power at
 * the same time.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNKNOWN = 999 };
enum { MAX_DEVICES = 64, MAX_ERRORS = 32, MAX_STEPS = 64, MAX_SLICES = 8, MAX_EVENTS = 8, MAX_LINKS = 18, WORD = 96 };

typedef struct { char name[WORD]; int code; double from_s; } Error;
typedef struct { unsigned long long number; double from_s; int told; } Xid;
typedef struct { int active, kind; char bus[WORD]; } NvLink; /* kind: nvmlIntNvLinkDeviceType_t; bus "-": not told */
typedef struct { int level, peer; char uuid[WORD]; } Way; /* to another GPU: nvmlGpuTopologyLevel_t, nvmlGpuP2PStatus_t */
typedef struct Device Device;
typedef struct { int is_slice; Device *parent; char uuid[WORD]; } Slice;

struct Device {
    int is_slice; /* 0; the first member of a slice's handle too */
    int index;
    char uuid[WORD], name[WORD], vbios[WORD], profile[WORD];
    unsigned architecture;
    double numbers[2 * MAX_STEPS + 2]; /* of the profile */
    int count;
    double counter_update_s, counter_start_j, reset_s;
    double instant_update_s, instant_window_s, average_update_s, average_window_s;
    double module_w; /* the rest of the module; below 0: no module; NAN: a driver that knows no scopes */
    unsigned limit_mw, default_limit_mw, gpu_percent, memory_percent, sm_mhz, memory_mhz, celsius, generation, width, processes;
    unsigned long long used_bytes, total_bytes, reasons, violation_ns, ecc_errors;
    double reasons_from_s, violation_share; /* of all time from then on */
    double hot_from_s, link_from_s;         /* when the later temperature and link begin */
    unsigned hot_celsius, link_generation, link_width;
    unsigned rows[4]; /* remapped: correctable, uncorrectable, pending, failed */
    Xid xids[MAX_EVENTS];
    int xid_count, watched;
    int mig, energy_type, power_type;
    Error errors[MAX_ERRORS];
    int error_count;
    Slice slices[MAX_SLICES];
    int slice_count;
    char bus[WORD];
    unsigned max_generation, max_width;
    NvLink nvlinks[MAX_LINKS];
    int nvlink_count;
    Way ways[MAX_DEVICES];
    int way_count;
};

static Device devices[MAX_DEVICES];
static int device_count, starts;
static Device host; /* only its errors: of functions that concern no device */
static double epoch_s, skipped_s;
static char driver[WORD];

/* ---- Time and power ---- */

/* For tests in this process: as if this much time had passed. */
void standin_skip(double seconds) { skipped_s += seconds; }

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9 - epoch_s + skipped_s;
}

/* Joules since time 0 of `count` steps (begin, watts), each until the next, the last for ever. */
static double steps_j(const double *steps, int count, double t) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
        double begin = steps[2 * i], end = i + 1 < count ? steps[2 * i + 2] : INFINITY;
        if (t > begin)
            sum += steps[2 * i + 1] * (fmin(t, end) - begin);
    }
    return t < 0 ? t * steps[1] : sum;
}

/* Joules since time 0, below 0 before it. */
static double integral_j(const Device *d, double t) {
    const double *n = d->numbers;
    if (!strcmp(d->profile, "constant"))
        return n[0] * t;
    if (!strcmp(d->profile, "sine")) /* mean, amplitude, period */
        return n[0] * t + n[1] * n[2] / (2 * M_PI) * (1 - cos(2 * M_PI * t / n[2]));
    if (!strcmp(d->profile, "bursts")) { /* low, high, on_s, period */
        double whole = floor(t / n[3]), rest = t - whole * n[3];
        return whole * (n[1] * n[2] + n[0] * (n[3] - n[2])) + n[1] * fmin(rest, n[2]) + n[0] * fmax(0, rest - n[2]);
    }
    int count = (d->count - 1) / 2; /* steps: repeated after (0: never), then begin and watts of each */
    if (n[0] <= 0)
        return steps_j(n + 1, count, t);
    double whole = floor(t / n[0]);
    return whole * steps_j(n + 1, count, n[0]) + steps_j(n + 1, count, t - whole * n[0]);
}

static double last_update_s(double t, double update_s) { return update_s > 0 ? floor(t / update_s) * update_s : t; }

static double mean_w(const Device *d, double update_s, double window_s) {
    double end = last_update_s(now_s(), update_s);
    return (integral_j(d, end) - integral_j(d, end - window_s)) / window_s;
}

static double instant_w(const Device *d) { return mean_w(d, d->instant_update_s, d->instant_window_s); }
static double average_w(const Device *d) { return mean_w(d, d->average_update_s, d->average_window_s); }

static unsigned long long counter_mj(const Device *d) {
    double t = last_update_s(now_s(), d->counter_update_s), j = d->counter_start_j + integral_j(d, t);
    if (t >= d->reset_s)
        j = integral_j(d, t) - integral_j(d, d->reset_s);
    return j > 0 ? (unsigned long long)(j * 1000) : 0;
}

/* ---- The scenario ---- */

static void copy(char *to, const char *from) { snprintf(to, WORD, "%s", from); }

static void add_device(const char *uuid) {
    Device *d = &devices[device_count];
    memset(d, 0, sizeof *d);
    d->index = device_count++;
    copy(d->uuid, uuid);
    copy(d->profile, "constant");
    d->reset_s = d->hot_from_s = d->link_from_s = INFINITY;
    d->module_w = -1;
    d->energy_type = 3;
    d->power_type = 1;
}

static int read_numbers(char *text, double *numbers, int limit) {
    int count = 0;
    for (char *word = strtok(text, " "); word && count < limit; word = strtok(NULL, " "))
        numbers[count++] = strtod(word, NULL);
    return count;
}

static void add_error(Device *d, const char *rest) {
    Error *e = &d->errors[d->error_count];
    if (d->error_count < MAX_ERRORS && sscanf(rest, "%95s %d %lf", e->name, &e->code, &e->from_s) == 3)
        d->error_count++;
}

static void read_profile(Device *d, char *rest) {
    char *kind = strtok(rest, " ");
    copy(d->profile, kind ? kind : "");
    d->count = read_numbers(NULL, d->numbers, 2 * MAX_STEPS + 2);
}

static void add_slice(Device *d, const char *uuid) {
    Slice *s = &d->slices[d->slice_count++];
    s->is_slice = 1;
    s->parent = d;
    copy(s->uuid, uuid);
    d->mig = 1;
}

static void add_xid(Device *d, const char *rest) {
    Xid *x = &d->xids[d->xid_count];
    if (d->xid_count < MAX_EVENTS && sscanf(rest, "%lf %llu", &x->from_s, &x->number) == 2)
        d->xid_count++;
}

static void add_nvlink(Device *d, const char *rest) {
    NvLink *l = &d->nvlinks[d->nvlink_count];
    if (d->nvlink_count < MAX_LINKS && sscanf(rest, "%d %d %95s", &l->active, &l->kind, l->bus) == 3)
        d->nvlink_count++;
}

static void add_way(Device *d, const char *rest) {
    Way *w = &d->ways[d->way_count];
    if (d->way_count < MAX_DEVICES && sscanf(rest, "%95s %d %d", w->uuid, &w->level, &w->peer) == 3)
        d->way_count++;
}

static int read_device(Device *d, const char *key, char *rest) {
    if (!strcmp(key, "name")) copy(d->name, rest);
    else if (!strcmp(key, "vbios")) copy(d->vbios, rest);
    else if (!strcmp(key, "architecture")) d->architecture = (unsigned)strtoul(rest, NULL, 10);
    else if (!strcmp(key, "profile")) read_profile(d, rest);
    else if (!strcmp(key, "counter")) sscanf(rest, "%lf %lf %lf", &d->counter_update_s, &d->counter_start_j, &d->reset_s);
    else if (!strcmp(key, "instant")) sscanf(rest, "%lf %lf", &d->instant_update_s, &d->instant_window_s);
    else if (!strcmp(key, "average")) sscanf(rest, "%lf %lf", &d->average_update_s, &d->average_window_s);
    else if (!strcmp(key, "module")) d->module_w = strtod(rest, NULL);
    else if (!strcmp(key, "limits")) sscanf(rest, "%u %u", &d->limit_mw, &d->default_limit_mw);
    else if (!strcmp(key, "utilisation")) sscanf(rest, "%u %u", &d->gpu_percent, &d->memory_percent);
    else if (!strcmp(key, "memory")) sscanf(rest, "%llu %llu", &d->used_bytes, &d->total_bytes);
    else if (!strcmp(key, "clocks")) sscanf(rest, "%u %u", &d->sm_mhz, &d->memory_mhz);
    else if (!strcmp(key, "temperature")) sscanf(rest, "%u %lf %u", &d->celsius, &d->hot_from_s, &d->hot_celsius);
    else if (!strcmp(key, "reasons")) sscanf(rest, "%llu %lf %llu %lf", &d->reasons, &d->reasons_from_s, &d->violation_ns, &d->violation_share);
    else if (!strcmp(key, "pcie")) sscanf(rest, "%u %u %lf %u %u", &d->generation, &d->width, &d->link_from_s, &d->link_generation, &d->link_width);
    else if (!strcmp(key, "rows")) sscanf(rest, "%u %u %u %u", &d->rows[0], &d->rows[1], &d->rows[2], &d->rows[3]);
    else if (!strcmp(key, "xid")) add_xid(d, rest);
    else if (!strcmp(key, "ecc")) d->ecc_errors = strtoull(rest, NULL, 10);
    else if (!strcmp(key, "processes")) d->processes = (unsigned)strtoul(rest, NULL, 10);
    else if (!strcmp(key, "types")) sscanf(rest, "%d %d", &d->energy_type, &d->power_type);
    else if (!strcmp(key, "bus")) copy(d->bus, rest);
    else if (!strcmp(key, "pcie_max")) sscanf(rest, "%u %u", &d->max_generation, &d->max_width);
    else if (!strcmp(key, "nvlink")) add_nvlink(d, rest);
    else if (!strcmp(key, "way")) add_way(d, rest);
    else if (!strcmp(key, "slice") && d->slice_count < MAX_SLICES) add_slice(d, rest);
    else return 0;
    return 1;
}

static int read_line(char *line) {
    char *rest = strchr(line, ' ');
    if (!rest)
        return *line == '\0';
    *rest++ = '\0';
    if (!strcmp(line, "epoch")) epoch_s = strtod(rest, NULL);
    else if (!strcmp(line, "driver")) copy(driver, rest);
    else if (!strcmp(line, "device") && device_count < MAX_DEVICES) add_device(rest);
    else if (!strcmp(line, "error")) add_error(device_count ? &devices[device_count - 1] : &host, rest);
    else return device_count && read_device(&devices[device_count - 1], line, rest);
    return 1;
}

static int read_scenario(void) {
    const char *path = getenv("HPCDL_NVML_SCENARIO");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[4096];
    int good = file != NULL;
    device_count = host.error_count = 0;
    epoch_s = skipped_s = 0;
    while (good && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        good = read_line(line);
    }
    if (file)
        fclose(file);
    if (!good)
        fprintf(stderr, "stand-in NVML: cannot read HPCDL_NVML_SCENARIO=%s\n", path ? path : "");
    return good ? OK : UNKNOWN;
}
