/* fake_engine.h - a loader and an engine for the registry's tests. A model file is a line of text:
 *   "good"             runs with any shape        "good 3"   weighs 3 bytes
 *   "long"             runs from 2 time steps on  "warn"     loads with a warning
 *   "wrong WHY"        the loader refuses it      "odd WHY"  the plan refuses it
 *   "gate"             the loader waits for fake_gate_open
 *   "near"             the loader opens weights.bin beside it
 * Inputs: x FP32 [-1,-1,2], h FP32 [1,-1,4]; outputs: y, hn. */
#pragma once
#include "recurd/engine.h"

int fake_plans(void); /* alive */
int fake_runs(void);
/** Inputs of the last run. */
struct rcd_tensor fake_last_x(void);
void fake_gate_open(void);
bool fake_gate_reached(void);
