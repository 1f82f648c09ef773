// SPDX-License-Identifier: Apache-2.0
/** Noise schedules, denoisers with their losses, and samplers. */
@NullMarked
package io.sfumato.models.diffusion;

import org.jspecify.annotations.NullMarked;
