// SPDX-License-Identifier: Apache-2.0
/** Adapters that change a frozen model through a few trained weights. */
@NullMarked
package io.sfumato.models.adapter;

import org.jspecify.annotations.NullMarked;
