// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/** Checks weight files by their headers against models that take no memory. */
final class Blueprints {
  private Blueprints() {}

  /**
   * Compares stored tensors with a model.
   *
   * @param role what the model is, for messages
   * @param model a model without memory
   * @param source the tensors under the names that it asks for
   * @return everything wrong
   */
  static List<String> compare(String role, Module model, TensorSource source) {
    List<String> problems = new ArrayList<>();
    Map<String, TensorEntry> entries = source.entries();
    TreeSet<String> unused = new TreeSet<>(entries.keySet());
    unused.remove("text_model.embeddings.position_ids");
    List<String> missing = new ArrayList<>();
    List<String> misfits = new ArrayList<>();
    for (Parameter p : model.parameters()) {
      TensorEntry entry = entries.get(p.name());
      if (entry == null) {
        missing.add(p.name());
      } else if (!entry.shape().equals(p.value().shape())) {
        misfits.add(p.name() + " is " + entry.shape() + " and must be " + p.value().shape());
      }
      unused.remove(p.name());
    }
    listed(role, "tensors are missing", missing, problems);
    listed(role, "tensors have another shape than config.json says", misfits, problems);
    listed(role, "tensors are not the model's", List.copyOf(unused), problems);
    return problems;
  }

  private static void listed(String role, String what, List<String> names, List<String> problems) {
    if (!names.isEmpty()) {
      int shown = Math.min(5, names.size());
      problems.add(
          role
              + ": "
              + names.size()
              + " "
              + what
              + ": "
              + String.join(", ", names.subList(0, shown))
              + (shown < names.size() ? " and so on" : ""));
    }
  }
}
