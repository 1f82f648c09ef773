// SPDX-License-Identifier: Apache-2.0
/**
 * Diffusion models: the configurations and the pipelines that put networks and samplers together.
 */
@NullMarked
package io.sfumato.models;

import org.jspecify.annotations.NullMarked;
