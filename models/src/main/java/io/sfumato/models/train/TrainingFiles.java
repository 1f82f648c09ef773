// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What training needs to go on with one model: {@code weights.safetensors}, the weights that are
 * trained, and {@code optimizer.safetensors}, what {@link Update#state} gives.
 */
public final class TrainingFiles {
  private static final String WEIGHTS = "weights.safetensors";
  private static final String STATE = "optimizer.safetensors";

  private TrainingFiles() {}

  /**
   * Writes both files.
   *
   * @param folder made if missing
   * @param model gives the weights
   * @param update gives its state
   * @throws TensorFileException if they cannot be written
   */
  public static void save(Path folder, Module model, Update update) {
    save(folder, model.stateDict(), update);
  }

  /** The same for weights by name. */
  static void save(Path folder, Map<String, Tensor> weights, Update update) {
    makeFolder(folder);
    try (Scope scope = Scope.open()) {
      SafeTensors.save(folder.resolve(WEIGHTS), weights);
      SafeTensors.save(folder.resolve(STATE), update.state());
    }
  }

  /** Reads both files back. */
  public static void restore(Path folder, Module model, Update update) {
    List<Parameter> all = new ArrayList<>(model.parameters());
    all.addAll(model.buffers());
    restore(folder, all, update);
  }

  /** The same into these weights. */
  static void restore(Path folder, List<Parameter> into, Update update) {
    try (Weights weights = Weights.open(folder.resolve(WEIGHTS));
        SafeTensors saved = SafeTensors.open(folder.resolve(STATE));
        Scope scope = Scope.open()) {
      weights.copyInto(into);
      Map<String, Tensor> state = new LinkedHashMap<>();
      saved.entries().keySet().forEach(name -> state.put(name, saved.read(name)));
      update.load(state);
    }
  }

  /**
   * Makes a folder.
   *
   * @throws TensorFileException if it cannot be made
   */
  public static void makeFolder(Path folder) {
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new TensorFileException(
          folder, "cannot be made: " + e.getClass().getSimpleName() + ": " + e.getMessage(), e);
    }
  }
}
