// SPDX-License-Identifier: Apache-2.0
/**
 * NVIDIA's libraries: where they are on this machine, and the bindings to them. All of them are
 * optional.
 */
@NullMarked
package io.sfumato.cuda.library;

import org.jspecify.annotations.NullMarked;
