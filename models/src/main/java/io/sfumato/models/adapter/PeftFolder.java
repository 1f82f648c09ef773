// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

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
          "LORA",
          Lora::fromPeft,
          "LOHA",
          Loha::fromPeft,
          "LOKR",
          Lokr::fromPeft,
          "IA3",
          Ia3::fromPeft,
          "OFT",
          Oft::fromPeft,
          "BOFT",
          Boft::fromPeft,
          "VERA",
          Vera::fromPeft,
          "ADALORA",
          AdaLora::fromPeft,
          PeftBeside.TOKENS_ALONE,
          PeftBeside::tokensAlone);

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
    return StoredValues.about(folder.toString(), () -> read(model, folder));
  }

  private static AdapterSet read(Module model, Path folder) {
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
    PeftBeside beside = PeftBeside.read(config, model);
    config.requireUnderstood();
    boolean tokensAlone = config.type().equals(PeftBeside.TOKENS_ALONE);
    try (Weights weights =
        Weights.open(folder.resolve("adapter_model.safetensors"))
            .rename(key -> PeftBeside.ourName(ourName(key), tokensAlone))) {
      AdapterSet set =
          AdapterSet.attach(
              model,
              targets.or(path -> beside.at(path).isPresent()),
              layer -> beside.at(layer.path()).orElseGet(() -> kinds.apply(layer)),
              weights.as(typeOf(model)));
      try {
        weights.requireAllUsed();
        StoredValues.check(set, folder.toString());
        return set;
      } catch (RuntimeException | Error e) {
        set.close();
        throw e;
      }
    }
  }

  /** The type of the model's layers: files may be of another, f16 most often. */
  private static DType typeOf(Module model) {
    return model.modules().values().stream()
        .filter(m -> m instanceof WeightLayer && !(m instanceof Norm))
        .map(layer -> ((WeightLayer) layer).weight().value().dtype())
        .filter(DType::isFloating)
        .findFirst()
        .orElse(DType.F32);
  }

  private static String ourName(String key) {
    return key.startsWith(MODEL)
        ? key.substring(MODEL.length())
        : key.startsWith(ROOT) ? key.substring(ROOT.length()) : key;
  }

  /**
   * Writes an adapter so that PEFT reads it: for {@code PeftModel.from_pretrained}.
   *
   * @param set parts of one kind, and beside them whole layers and trained tokens
   * @param folder made if missing
   * @throws IllegalArgumentException if PEFT has no such kind, or kinds are mixed
   * @throws io.sfumato.tensor.io.TensorFileException if it cannot be written
   */
  public static void save(AdapterSet set, Path folder) {
    save(set, null, folder);
  }

  /**
   * The same with tensors of another type.
   *
   * @param dtype the type of the tensors; null for that of the adapter
   */
  public static void save(AdapterSet set, @Nullable DType dtype, Path folder) {
    Map<String, AdapterKind> kinds = new LinkedHashMap<>(set.storedKinds());
    Map<String, Object> config = config(set, kinds);
    boolean tokensAlone = kinds.isEmpty();
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new TensorFileException(folder, "cannot be made: " + e.getMessage(), e);
    }
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      set.storedDict()
          .forEach(
              (name, value) ->
                  tensors.put(
                      (name.startsWith("vera_") ? ROOT : MODEL)
                          + PeftBeside.fileName(name, tokensAlone),
                      dtype == null ? value : value.to(dtype)));
      ModelConfig.write(folder.resolve("adapter_config.json"), config);
      SafeTensors.save(
          folder.resolve("adapter_model.safetensors"), tensors, Map.of("format", "pt"));
    }
  }

  /**
   * Why PEFT cannot hold an adapter.
   *
   * @return the reason in words, or null if {@link #save} writes it
   */
  public static @Nullable String refuses(AdapterSet set) {
    try {
      config(set, new LinkedHashMap<>(set.storedKinds()));
      return null;
    } catch (IllegalArgumentException e) {
      return String.valueOf(e.getMessage());
    }
  }

  /** The configuration; of {@code kinds} those stay that PEFT has no other place for. */
  private static Map<String, Object> config(AdapterSet set, Map<String, AdapterKind> kinds) {
    Map<String, Object> config = PeftBeside.take(set, kinds);
    Map<String, PeftForm> forms = new LinkedHashMap<>();
    kinds.forEach(
        (path, kind) -> {
          PeftForm form = kind.peft();
          if (form == null) {
            throw new IllegalArgumentException(path + ": PEFT has no such adapter: " + kind);
          }
          forms.put(path, form);
        });
    if (!kinds.isEmpty()) {
      config.putAll(config(forms));
    }
    return config;
  }

  private static Map<String, Object> config(Map<String, PeftForm> forms) {
    PeftForm first = forms.values().iterator().next();
    List<String> inputs = new ArrayList<>();
    Map<String, Object> ranks = new TreeMap<>();
    Map<String, Object> alphas = new TreeMap<>();
    forms.forEach(
        (path, form) -> {
          boolean ofInput = Boolean.TRUE.equals(form.settings().get(Ia3.OF_INPUT));
          if (ofInput) {
            inputs.add(path);
          }
          if (!form.type().equals(first.type())
              || !without(form.settings()).equals(without(first.settings()))) {
            throw new IllegalArgumentException(
                path
                    + ": PEFT wants all layers of one kind and one setting; got "
                    + form
                    + " beside "
                    + first);
          }
          // Anchored, since PEFT takes keys for the ends of paths.
          String key = "^" + path.replace(".", "\\.");
          if (form.rank() != first.rank() && !form.type().equals("ADALORA")) {
            ranks.put(key, form.rank());
          }
          if (form.alpha() != first.alpha()) {
            alphas.put(key, ModelConfig.wholeIfPossible(form.alpha()));
          }
        });
    Map<String, Object> config = new TreeMap<>(without(first.settings()));
    config.put("peft_type", first.type());
    config.put("inference_mode", true);
    config.put("target_modules", new ArrayList<>(forms.keySet()));
    if (first.type().equals("IA3")) {
      config.put("feedforward_modules", inputs);
    }
    if (first.type().equals("ADALORA")) {
      keptRanks(forms, config);
    } else if (!first.rankKey().isEmpty()) {
      config.put(first.rankKey(), first.rank());
      config.put("rank_pattern", ranks);
      config.put("alpha_pattern", alphas);
    }
    if (!first.alphaKey().isEmpty()) {
      config.put(first.alphaKey(), ModelConfig.wholeIfPossible(first.alpha()));
    }
    return config;
  }

  /** AdaLoRA's pruned ranks are lists of truth values: as many true as are left of the first. */
  private static void keptRanks(Map<String, PeftForm> forms, Map<String, Object> config) {
    int initial = ((Number) config.getOrDefault("init_r", 12)).intValue();
    Map<String, Object> kept = new TreeMap<>();
    forms.forEach(
        (path, form) -> {
          if (form.rank() != initial) {
            List<Boolean> flags = new ArrayList<>(Collections.nCopies(form.rank(), true));
            flags.addAll(Collections.nCopies(initial - form.rank(), false));
            kept.put(path + ".lora_E", flags);
          }
        });
    config.put("target_r", forms.values().stream().mapToInt(PeftForm::rank).sum() / forms.size());
    config.put("total_step", 1); // PEFT demands one; it is read for nothing but training
    if (!kept.isEmpty()) {
      config.put("rank_pattern", kept);
    }
  }

  private static Map<String, Object> without(Map<String, Object> settings) {
    Map<String, Object> rest = new TreeMap<>(settings);
    rest.remove(Ia3.OF_INPUT);
    return rest;
  }
}
