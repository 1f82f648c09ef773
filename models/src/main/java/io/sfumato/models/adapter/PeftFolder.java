// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * Adapters in the folders of PEFT: {@code adapter_config.json} and {@code
 * adapter_model.safetensors}, whose keys are {@code base_model.model.} and ours.
 */
public final class PeftFolder {
  private static final String MODEL = "base_model.model.";
  private static final String ROOT = "base_model.";

  /** What reads the settings of one kind: gives, for a layer, its kind with rank and α. */
  @FunctionalInterface
  interface Reader {
    Function<WeightLayer, AdapterKind> read(PeftConfig config);
  }

  private static final Map<String, Reader> READERS =
      Map.of(
          "LORA", Lora::fromPeft,
          "LOHA", Loha::fromPeft,
          "LOKR", Lokr::fromPeft,
          "IA3", Ia3::fromPeft,
          "OFT", Oft::fromPeft,
          "BOFT", Boft::fromPeft,
          "VERA", Vera::fromPeft,
          "ADALORA", AdaLora::fromPeft);

  private PeftFolder() {}

  /**
   * Reads an adapter and attaches it.
   *
   * @param model the model it was trained for
   * @param folder the adapter's folder
   * @throws IllegalArgumentException about everything in the configuration that is wrong or not
   *     supported
   * @throws io.sfumato.tensor.io.WeightsException if a tensor is missing, misshapen, or left over
   */
  public static AdapterSet open(Module model, Path folder) {
    PeftConfig config = new PeftConfig(folder.resolve("adapter_config.json"));
    Reader reader = READERS.get(config.type());
    if (reader == null) {
      throw new IllegalArgumentException(
          folder
              + ": adapters of kind "
              + config.type()
              + " are not supported; these are: "
              + String.join(", ", new TreeSet<>(READERS.keySet())));
    }
    Predicate<String> targets = config.targets();
    Function<WeightLayer, AdapterKind> kinds = reader.read(config);
    config.requireUnderstood();
    try (Weights weights =
        Weights.open(folder.resolve("adapter_model.safetensors")).rename(PeftFolder::ourName)) {
      AdapterSet set = AdapterSet.attach(model, targets, kinds, weights);
      try {
        weights.requireAllUsed();
        return set;
      } catch (RuntimeException | Error e) {
        set.close();
        throw e;
      }
    }
  }

  private static String ourName(String key) {
    return key.startsWith(MODEL)
        ? key.substring(MODEL.length())
        : key.startsWith(ROOT) ? key.substring(ROOT.length()) : key;
  }
}
