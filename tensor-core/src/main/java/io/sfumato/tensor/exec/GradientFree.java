// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

/**
 * An op with floating outputs whose derivative is zero wherever it exists: floor, sign, rounding to
 * codes. Its results are constants for differentiation, as are those of every op whose outputs are
 * not floating (comparisons, argmax).
 */
public interface GradientFree extends Op {}
