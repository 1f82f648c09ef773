// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import java.util.Map;

/**
 * The settings of one layer's adapter as PEFT writes them.
 *
 * @param type the {@code peft_type}
 * @param settings the keys of the kind, but for rank and α, at their values
 * @param rankKey what PEFT calls the rank, or "" if the kind has none
 * @param rank the rank
 * @param alphaKey what PEFT calls α, or "" if the kind has none
 * @param alpha α
 */
record PeftForm(
    String type,
    Map<String, Object> settings,
    String rankKey,
    int rank,
    String alphaKey,
    double alpha) {}
