// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.Optimizer;
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
import org.jspecify.annotations.Nullable;

/**
 * What training needs to go on with one model: {@code weights.safetensors}, the weights that are
 * trained, and {@code optimizer.safetensors}, the optimiser's state and, under {@code ema.}, the
 * averages.
 */
public final class TrainingFiles {
  private static final String AVERAGE = "ema.";

  private TrainingFiles() {}

  /**
   * Writes both files.
   *
   * @param folder made if missing
   * @param model gives the weights
   * @param optimizer gives its state
   * @param ema averages, if there are any
   * @throws TensorFileException if they cannot be written
   */
  public static void save(Path folder, Module model, Optimizer optimizer, @Nullable Ema ema) {
    makeFolder(folder);
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> state = new LinkedHashMap<>(optimizer.state());
      if (ema != null) {
        ema.state().forEach((name, tensor) -> state.put(AVERAGE + name, tensor));
      }
      SafeTensors.save(folder.resolve("weights.safetensors"), model.stateDict());
      SafeTensors.save(folder.resolve("optimizer.safetensors"), state);
    }
  }

  /** Reads both files back. */
  public static void restore(Path folder, Module model, Optimizer optimizer, @Nullable Ema ema) {
    try (Weights weights = Weights.open(folder.resolve("weights.safetensors"));
        SafeTensors saved = SafeTensors.open(folder.resolve("optimizer.safetensors"));
        Scope scope = Scope.open()) {
      List<Parameter> all = new ArrayList<>(model.parameters());
      all.addAll(model.buffers());
      weights.copyInto(all);
      Map<String, Tensor> optimizerState = new LinkedHashMap<>();
      Map<String, Tensor> averages = new LinkedHashMap<>();
      for (String name : saved.entries().keySet()) {
        if (name.startsWith(AVERAGE)) {
          averages.put(name.substring(AVERAGE.length()), saved.read(name));
        } else {
          optimizerState.put(name, saved.read(name));
        }
      }
      optimizer.load(optimizerState);
      if (ema != null) {
        ema.load(averages);
      }
    }
  }

  /** The averaged weights by name: what others shall read. */
  public static Map<String, Tensor> averages(Ema ema) {
    Map<String, Tensor> averaged = new LinkedHashMap<>();
    ema.averages().forEach(p -> averaged.put(p.name(), p.value()));
    return averaged;
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
