// SPDX-License-Identifier: Apache-2.0

/**
 * Measures of generated pictures: distances between sets of features, likeness of pictures, and a
 * check that pictures of the shapes world show what was asked for.
 */
@NullMarked
package io.sfumato.models.eval;

import org.jspecify.annotations.NullMarked;
