/* A stand-in for NVIDIA's libnvidia-ml.so.1: the GPUs of a scenario file (scenario.h), for the real pynvml.
 *
 * HPCDL_NVML_SCENARIO names the file; it is read whenever NVML is initialised anew. Numbers of codes, types and fields,
 * and the layout of structures, are those of nvml.h; a function stands under the name that pynvml looks up.
 */
#include "scenario.h"

enum { UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };
enum { ENERGY = 83, AVERAGE = 185, INSTANT = 186 };

/* ---- Errors ---- */

/* The code that the scenario plans for this function now; "*" stands for all functions. */
static int planned(const Device *d, const char *name) {
    for (int i = 0; i < d->error_count; i++) {
        const Error *e = &d->errors[i];
        if ((!strcmp(e->name, name) || !strcmp(e->name, "*")) && now_s() >= e->from_s)
            return e->code;
    }
    return OK;
}

static int refuse(const Device *d, const char *name) {
    if (!starts)
        return UNINITIALIZED;
    if (!d)
        return INVALID_ARGUMENT;
    return d->is_slice ? NOT_SUPPORTED : planned(d, name);
}

#define ASK(d, name) do { int code = refuse(d, name); if (code) return code; } while (0)
#define TELL(function, type, value) int function(Device *d, type *to) { ASK(d, #function); *to = (value); return OK; }

/* ---- The library itself ---- */

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!starts) {
        int code = read_scenario();
        if (!code)
            code = planned(&host, "nvmlInit");
        if (code)
            return code;
    }
    starts++;
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!starts)
        return UNINITIALIZED;
    starts--;
    return OK;
}

const char *nvmlErrorString(int code) {
    static char text[WORD];
    snprintf(text, sizeof text, "stand-in error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *to, unsigned size) {
    ASK(&host, "nvmlSystemGetDriverVersion");
    snprintf(to, size, "%s", driver);
    return OK;
}

int nvmlSystemGetNVMLVersion(char *to, unsigned size) {
    snprintf(to, size, "13.%s", driver);
    return OK;
}

int nvmlSystemGetCudaDriverVersion_v2(int *to) {
    *to = 13000;
    return OK;
}

/* ---- Devices ---- */

int nvmlDeviceGetCount_v2(unsigned *to) {
    ASK(&host, "nvmlDeviceGetCount");
    *to = (unsigned)device_count;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **to) {
    ASK(&host, "nvmlDeviceGetHandleByIndex");
    if (index >= (unsigned)device_count)
        return INVALID_ARGUMENT;
    ASK(&devices[index], "nvmlDeviceGetHandleByIndex");
    *to = &devices[index];
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **to) {
    ASK(&host, "nvmlDeviceGetHandleByUUID");
    for (int i = 0; i < device_count; i++) {
        Device *d = &devices[i];
        if (!strcmp(d->uuid, uuid)) {
            ASK(d, "nvmlDeviceGetHandleByUUID");
            *to = d;
            return OK;
        }
        for (int j = 0; j < d->slice_count; j++)
            if (!strcmp(d->slices[j].uuid, uuid)) {
                *to = &d->slices[j];
                return OK;
            }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(Device *d, char *to, unsigned size) {
    ASK(d, "nvmlDeviceGetUUID");
    snprintf(to, size, "%s", d->uuid);
    return OK;
}

int nvmlDeviceGetName(Device *d, char *to, unsigned size) {
    ASK(d, "nvmlDeviceGetName");
    snprintf(to, size, "%s", d->name);
    return OK;
}

int nvmlDeviceGetVbiosVersion(Device *d, char *to, unsigned size) {
    ASK(d, "nvmlDeviceGetVbiosVersion");
    snprintf(to, size, "%s", d->vbios);
    return OK;
}

TELL(nvmlDeviceGetIndex, unsigned, (unsigned)d->index)
TELL(nvmlDeviceGetArchitecture, unsigned, d->architecture)

/* ---- MIG ---- */

int nvmlDeviceGetMigMode(Device *d, unsigned *now, unsigned *pending) {
    ASK(d, "nvmlDeviceGetMigMode");
    *now = *pending = (unsigned)d->mig;
    return OK;
}

int nvmlDeviceIsMigDeviceHandle(Device *d, unsigned *to) {
    *to = (unsigned)d->is_slice;
    return OK;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *d, Device **to) {
    if (!d->is_slice)
        return INVALID_ARGUMENT;
    *to = ((Slice *)(void *)d)->parent;
    return OK;
}

TELL(nvmlDeviceGetMaxMigDeviceCount, unsigned, (unsigned)d->slice_count)

int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, void **to) {
    ASK(d, "nvmlDeviceGetMigDeviceHandleByIndex");
    if (index >= (unsigned)d->slice_count)
        return NOT_FOUND;
    *to = &d->slices[index];
    return OK;
}

/* ---- How it is plugged in ---- */

/* nvml.h, nvmlPciInfo_t. */
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;

static void fill_pci(Pci *to, const char *bus) {
    memset(to, 0, sizeof *to);
    snprintf(to->bus_id, sizeof to->bus_id, "%s", bus);
    snprintf(to->legacy, sizeof to->legacy, "%s", strlen(bus) > 12 ? bus + 4 : bus); /* a domain of four digits */
    sscanf(bus, "%x:%x:%x", &to->domain, &to->bus, &to->device);
}

int nvmlDeviceGetPciInfo_v3(Device *d, Pci *to) {
    ASK(d, "nvmlDeviceGetPciInfo");
    if (!*d->bus)
        return NOT_SUPPORTED;
    fill_pci(to, d->bus);
    return OK;
}

TELL(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, d->max_generation)
TELL(nvmlDeviceGetMaxPcieLinkWidth, unsigned, d->max_width)

/* A GPU without NVLink supports none of these; past its last link they are invalid. */
static int find_nvlink(const Device *d, unsigned link) {
    if (!d->nvlink_count)
        return NOT_SUPPORTED;
    return link < (unsigned)d->nvlink_count ? OK : INVALID_ARGUMENT;
}

int nvmlDeviceGetNvLinkState(Device *d, unsigned link, unsigned *to) {
    ASK(d, "nvmlDeviceGetNvLinkState");
    int code = find_nvlink(d, link);
    if (!code)
        *to = (unsigned)d->nvlinks[link].active;
    return code;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(Device *d, unsigned link, unsigned *to) {
    ASK(d, "nvmlDeviceGetNvLinkRemoteDeviceType");
    int code = find_nvlink(d, link);
    if (!code)
        *to = (unsigned)d->nvlinks[link].kind;
    return code;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(Device *d, unsigned link, Pci *to) {
    ASK(d, "nvmlDeviceGetNvLinkRemotePciInfo");
    int code = find_nvlink(d, link);
    if (!code && !strcmp(d->nvlinks[link].bus, "-"))
        code = NOT_SUPPORTED;
    if (!code)
        fill_pci(to, d->nvlinks[link].bus);
    return code;
}

static const Way *find_way(const Device *one, const Device *other) {
    for (int i = 0; i < one->way_count; i++)
        if (!strcmp(one->ways[i].uuid, other->uuid))
            return &one->ways[i];
    return NULL;
}

int nvmlDeviceGetTopologyCommonAncestor(Device *one, Device *other, unsigned *to) {
    ASK(one, "nvmlDeviceGetTopologyCommonAncestor");
    const Way *way = find_way(one, other);
    if (!way)
        return NOT_SUPPORTED;
    *to = (unsigned)way->level;
    return OK;
}

int nvmlDeviceGetP2PStatus(Device *one, Device *other, unsigned capability, unsigned *to) {
    ASK(one, "nvmlDeviceGetP2PStatus");
    const Way *way = find_way(one, other);
    if (!way || capability)
        return NOT_SUPPORTED;
    *to = (unsigned)way->peer;
    return OK;
}

/* ---- Energy and power ---- */

TELL(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, counter_mj(d))
TELL(nvmlDeviceGetPowerUsage, unsigned, (unsigned)(average_w(d) * 1000))
TELL(nvmlDeviceGetEnforcedPowerLimit, unsigned, d->limit_mw)
TELL(nvmlDeviceGetPowerManagementLimit, unsigned, d->limit_mw)
TELL(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, d->default_limit_mw)

typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; unsigned short us; } Value;
typedef struct { uint32_t field, scope; int64_t timestamp, latency; int type, code; Value value; } Field;

static void fill_value(Field *f, int type, double number) {
    memset(&f->value, 0xA5, sizeof f->value); /* a reader of the wrong member shall notice */
    f->type = type;
    switch (type) {
    case 0: f->value.d = number; break;
    case 1: f->value.ui = (unsigned)number; break;
    case 2: f->value.ul = (unsigned long)number; break;
    case 3: f->value.ull = (unsigned long long)number; break;
    case 4: f->value.sll = (long long)number; break;
    case 5: f->value.si = (int)number; break;
    case 6: f->value.us = (unsigned short)number; break;
    default: break;
    }
}

static int tell_field(const Device *d, Field *f) {
    char name[WORD];
    int scoped = f->scope == 1 && !isnan(d->module_w);
    snprintf(name, sizeof name, scoped ? "field:%u:1" : "field:%u", f->field);
    int code = planned(d, name);
    if (code)
        return code;
    if (f->field == ENERGY && !f->scope)
        fill_value(f, d->energy_type, (double)counter_mj(d));
    else if ((f->field == INSTANT || f->field == AVERAGE) && f->scope < 2) {
        if (scoped && d->module_w < 0)
            return NOT_SUPPORTED;
        double watts = (f->field == INSTANT ? instant_w(d) : average_w(d)) + (scoped ? d->module_w : 0);
        fill_value(f, d->power_type, watts * 1000);
    } else
        return NOT_SUPPORTED;
    return OK;
}

int nvmlDeviceGetFieldValues(Device *d, int count, Field *fields) {
    ASK(d, "nvmlDeviceGetFieldValues");
    for (int i = 0; i < count; i++) {
        memset(&fields[i].value, 0, sizeof fields[i].value);
        fields[i].code = tell_field(d, &fields[i]);
    }
    return OK;
}

/* ---- What changes slowly ---- */

TELL(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, now_s() >= d->link_from_s ? d->link_generation : d->generation)
TELL(nvmlDeviceGetCurrPcieLinkWidth, unsigned, now_s() >= d->link_from_s ? d->link_width : d->width)
TELL(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, now_s() >= d->reasons_from_s ? d->reasons : 0)
TELL(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, now_s() >= d->reasons_from_s ? d->reasons : 0)

int nvmlDeviceGetTemperature(Device *d, int sensor, unsigned *to) {
    ASK(d, "nvmlDeviceGetTemperature");
    *to = now_s() >= d->hot_from_s ? d->hot_celsius : d->celsius;
    return sensor ? INVALID_ARGUMENT : OK;
}

int nvmlDeviceGetClockInfo(Device *d, int kind, unsigned *to) {
    ASK(d, "nvmlDeviceGetClockInfo");
    *to = kind == 2 ? d->memory_mhz : d->sm_mhz;
    return OK;
}

int nvmlDeviceGetUtilizationRates(Device *d, unsigned *to) {
    ASK(d, "nvmlDeviceGetUtilizationRates");
    to[0] = d->gpu_percent;
    to[1] = d->memory_percent;
    return OK;
}

int nvmlDeviceGetMemoryInfo(Device *d, unsigned long long *to) {
    ASK(d, "nvmlDeviceGetMemoryInfo");
    to[0] = d->total_bytes;
    to[1] = d->total_bytes - d->used_bytes;
    to[2] = d->used_bytes;
    return OK;
}

int nvmlDeviceGetViolationStatus(Device *d, int policy, unsigned long long *to) {
    ASK(d, "nvmlDeviceGetViolationStatus");
    to[0] = (unsigned long long)(now_s() * 1e6);
    double held_s = d->violation_share * fmax(0, now_s() - d->reasons_from_s);
    to[1] = policy == 1 ? d->violation_ns + (unsigned long long)(held_s * 1e9) : 12345; /* by heat */
    return OK;
}

int nvmlDeviceGetTotalEccErrors(Device *d, int kind, int counter, unsigned long long *to) {
    ASK(d, "nvmlDeviceGetTotalEccErrors");
    *to = kind == 1 && counter == 0 ? d->ecc_errors : 12345; /* uncorrected, volatile */
    return OK;
}

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;

int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *count, Process *to) {
    ASK(d, "nvmlDeviceGetComputeRunningProcesses");
    unsigned room = *count;
    *count = d->processes;
    if (room < d->processes)
        return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < d->processes; i++)
        to[i] = (Process){1000 + i, 1u << 30, ~0u, ~0u};
    return OK;
}

int nvmlDeviceGetRemappedRows(Device *d, unsigned *correctable, unsigned *uncorrectable, unsigned *pending, unsigned *failed) {
    ASK(d, "nvmlDeviceGetRemappedRows");
    *correctable = d->rows[0];
    *uncorrectable = d->rows[1];
    *pending = d->rows[2];
    *failed = d->rows[3];
    return OK;
}

/* ---- Events ---- */

enum { XID_EVENT = 8, MAX_SETS = 16 };
typedef struct { int used; } Set;
typedef struct { Device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;

static Set sets[MAX_SETS];

int nvmlEventSetCreate(Set **to) {
    ASK(&host, "nvmlEventSetCreate");
    for (int i = 0; i < MAX_SETS; i++)
        if (!sets[i].used) {
            sets[i].used = 1;
            *to = &sets[i];
            return OK;
        }
    return UNKNOWN;
}

TELL(nvmlDeviceGetSupportedEventTypes, unsigned long long, XID_EVENT)

/* What has happened before is never told. A device is watched by one set at a time. */
int nvmlDeviceRegisterEvents(Device *d, unsigned long long types, Set *set) {
    ASK(d, "nvmlDeviceRegisterEvents");
    if (!set || !set->used || types != XID_EVENT)
        return INVALID_ARGUMENT;
    d->watched = 1 + (int)(set - sets);
    for (int i = 0; i < d->xid_count; i++)
        d->xids[i].told = now_s() >= d->xids[i].from_s;
    return OK;
}

int nvmlEventSetWait_v2(Set *set, Event *to, unsigned timeout_ms) {
    (void)timeout_ms;
    ASK(&host, "nvmlEventSetWait");
    if (!set || !set->used)
        return INVALID_ARGUMENT;
    for (int i = 0; i < device_count; i++) {
        Device *d = &devices[i];
        for (int j = 0; d->watched == 1 + (int)(set - sets) && j < d->xid_count; j++)
            if (!d->xids[j].told && now_s() >= d->xids[j].from_s) {
                d->xids[j].told = 1;
                *to = (Event){d, XID_EVENT, d->xids[j].number, ~0u, ~0u};
                return OK;
            }
    }
    return TIMEOUT;
}

int nvmlEventSetFree(Set *set) {
    if (!starts)
        return UNINITIALIZED;
    if (!set || !set->used)
        return INVALID_ARGUMENT;
    set->used = 0;
    return OK;
}
