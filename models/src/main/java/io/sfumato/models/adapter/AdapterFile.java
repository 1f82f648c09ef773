// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.OriginallyNamed;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.DerivedTensors;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Adapters in one safetensors file, in whichever dialect it is written: diffusers (today's and that
 * of 2023), kohya, LyCORIS, HCP-Diffusion, microsoft/LoRA, or PEFT without its folder. The layers
 * are found from the model's side, since names with underscores cannot be taken apart otherwise. No
 * tensor is dropped silently: what has no place is an error that lists it.
 */
public final class AdapterFile {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private AdapterFile() {}

  /**
   * What was read.
   *
   * @param adapter the adapter, attached
   * @param dialect how the file is written
   * @param scaleRule where the scale came from, in words
   */
  public record Loaded(AdapterSet adapter, Dialect dialect, String scaleRule) {}

  /**
   * Which model of a pipeline a file's names speak of.
   *
   * @param dotted its prefix in diffusers' names, for example {@code unet}
   * @param flat its prefix in kohya's names, for example {@code lora_unet}
   */
  public record Component(String dotted, String flat) {
    /** The U-Net. */
    public static final Component UNET = new Component("unet", "lora_unet");

    /** The text encoder of SD1 and SD2. */
    public static final Component TEXT_ENCODER = new Component("text_encoder", "lora_te");

    /** The first text encoder of SDXL. */
    public static final Component TEXT_ENCODER_1 = new Component("text_encoder", "lora_te1");

    /** The second text encoder of SDXL. */
    public static final Component TEXT_ENCODER_2 = new Component("text_encoder_2", "lora_te2");

    /** A transformer in the U-Net's place. */
    public static final Component TRANSFORMER = new Component("transformer", "lora_transformer");
  }

  /**
   * Reads a file for a U-Net and attaches it.
   *
   * @see #open(Module, Component, Path)
   */
  public static Loaded open(Module unet, Path file) {
    return open(unet, Component.UNET, file);
  }

  /**
   * Reads the part of a file that belongs to one model, and attaches it. Parts of other components
   * are named in one log line. Layers may have the names of original checkpoints, as in kohya's
   * files for SDXL.
   *
   * @param model the model it was trained for
   * @param component what the file calls it
   * @param file a safetensors file
   * @throws IllegalArgumentException listing tensors without a place, or saying that there are none
   * @throws TensorFileException if the file is corrupt
   * @throws io.sfumato.tensor.io.WeightsException if a tensor is missing or does not fit; the model
   *     stays as it was
   */
  public static Loaded open(Module model, Component component, Path file) {
    try (TensorSource source = SafeTensors.open(file)) {
      return StoredValues.about(source.description(), () -> open(model, component, file, source));
    }
  }

  private static Loaded open(Module model, Component component, Path file, TensorSource source) {
    try (Scope scope = Scope.open()) {
      Dialect dialect = Dialect.of(source.entries().keySet());
      Map<String, WeightLayer> layers = names(model, component, dialect);
      Map<WeightLayer, Map<String, String>> found = new LinkedHashMap<>();
      sort(source, component, dialect, layers, found);
      ScaleRule rule = ScaleRule.of(source, component, dialect);
      Map<String, AdapterKind> kinds = new HashMap<>();
      DerivedTensors placed = DerivedTensors.borrowing(source);
      found.forEach(
          (layer, factors) ->
              kinds.put(layer.path(), StoredKinds.of(layer, factors, source, placed, rule)));
      Weights weights =
          Weights.from(placed).as(found.keySet().iterator().next().weight().value().dtype());
      AdapterSet set =
          AdapterSet.attach(
              model,
              kinds::containsKey,
              layer -> Objects.requireNonNull(kinds.get(layer.path())),
              weights);
      try {
        weights.requireAllUsed();
        StoredValues.check(set, source.description());
      } catch (RuntimeException | Error e) {
        set.close();
        throw e;
      }
      LOG.log(
          System.Logger.Level.INFO,
          "{0}: {1} adapters in the dialect of {2}; {3}",
          file,
          kinds.size(),
          dialect.label(),
          rule.text());
      return new Loaded(set, dialect, rule.text());
    }
  }

  /** The model's layers by the names a file may use. */
  private static Map<String, WeightLayer> names(
      Module model, Component component, Dialect dialect) {
    Map<String, String> otherNames =
        model instanceof OriginallyNamed named && dialect.isFlat()
            ? named.originalNames()
            : Map.of();
    Map<String, WeightLayer> names = new HashMap<>();
    model
        .modules()
        .forEach(
            (path, module) -> {
              if (module instanceof WeightLayer layer) {
                List<String> spellings = new ArrayList<>(List.of(path));
                String other = otherNames.get(path);
                if (other != null) {
                  spellings.add(other);
                }
                for (String spelling : spellings) {
                  for (String name : spelled(spelling, component, dialect)) {
                    names.put(name, layer);
                  }
                }
              }
            });
    return names;
  }

  private static List<String> spelled(String path, Component component, Dialect dialect) {
    String flat = path.replace('.', '_');
    return switch (dialect) {
      case PEFT, HCP -> List.of(dialect.prefix() + path);
      case KOHYA -> List.of(component.flat + "_" + flat);
      case LYCORIS -> List.of(dialect.prefix() + flat, component.flat + "_" + flat);
      case MICROSOFT -> List.of(path);
      case DIFFUSERS -> {
        // 2023: attn1.processor.to_q_lora, to_out_lora for to_out.0, self_attn.to_q_lora for q_proj
        String last = path.replaceFirst("\\.0$", "");
        int dot = last.lastIndexOf('.') + 1;
        String parent = last.substring(0, dot);
        String name = last.substring(dot);
        String old =
            name.matches("(q|k|v|out)_proj")
                ? parent + "to_" + name.substring(0, name.indexOf('_'))
                : parent + "processor." + name;
        yield List.of(path, component.dotted + "." + path, old, component.dotted + "." + old);
      }
    };
  }

  private static void sort(
      TensorSource source,
      Component component,
      Dialect dialect,
      Map<String, WeightLayer> layers,
      Map<WeightLayer, Map<String, String>> found) {
    List<String> lost = new ArrayList<>();
    List<String> ofOthers = new ArrayList<>();
    for (String key : source.entries().keySet()) {
      Dialect.Part part = Dialect.split(key);
      WeightLayer layer = part == null ? null : layers.get(part.layer());
      if (part != null && layer != null) {
        String before =
            found.computeIfAbsent(layer, l -> new LinkedHashMap<>()).put(part.factor(), key);
        if (before != null) {
          throw new IllegalArgumentException(
              source.description() + ": " + before + " and " + key + " are the same factor");
        }
      } else if (isOfAnother(key, component, dialect)) {
        ofOthers.add(key);
      } else {
        lost.add(key);
      }
    }
    if (!lost.isEmpty()) {
      throw new IllegalArgumentException(
          source.description()
              + ": "
              + lost.size()
              + " tensors have no place in the model: "
              + String.join(", ", lost.subList(0, Math.min(20, lost.size())))
              + (lost.size() > 20 ? ", …" : ""));
    }
    if (found.isEmpty()) {
      throw new IllegalArgumentException(
          source.description() + ": holds no adapter for " + component.dotted);
    }
    if (!ofOthers.isEmpty()) {
      LOG.log(
          System.Logger.Level.INFO,
          "{0}: {1} tensors are for other components than {2}, {3} for one",
          source.description(),
          ofOthers.size(),
          component.dotted,
          ofOthers.getFirst());
    }
  }

  private static boolean isOfAnother(String key, Component component, Dialect dialect) {
    for (Component c :
        List.of(
            Component.UNET,
            Component.TEXT_ENCODER,
            Component.TEXT_ENCODER_1,
            Component.TEXT_ENCODER_2,
            Component.TRANSFORMER)) {
      String prefix = dialect.isFlat() ? c.flat + "_" : c.dotted + ".";
      String own = dialect.isFlat() ? component.flat + "_" : component.dotted + ".";
      if (!prefix.equals(own) && key.startsWith(prefix)) {
        return true;
      }
    }
    return false;
  }

  /** Where the scale of an adapter comes from. */
  record ScaleRule(
      String text,
      Map<String, Double> alphas,
      @Nullable Double alpha,
      boolean ready,
      boolean rankStabilized) {
    static ScaleRule of(TensorSource source, Component component, Dialect dialect) {
      if (dialect == Dialect.HCP) {
        return new ScaleRule("the stored alpha is the scale itself", Map.of(), null, true, false);
      }
      for (String key : source.entries().keySet()) {
        if (key.endsWith(".alpha")) {
          return new ScaleRule(
              "the scale is alpha / rank, alpha from the file, and 1 where it has none",
              Map.of(),
              null,
              false,
              false);
        }
      }
      String json = source.metadata().get(DiffusersMetadata.KEY);
      if (json != null) {
        return DiffusersMetadata.rule(json, component.dotted);
      }
      return new ScaleRule(
          "the file holds no alpha, so alpha is the rank and the scale 1",
          Map.of(),
          null,
          false,
          false);
    }

    /** α of a layer whose file has none of its own. */
    double alphaOf(String path, double rank) {
      double general = alpha == null ? rank : alpha;
      return PeftConfig.patternFor(alphas, path, general);
    }
  }

  /** The shape of a stored tensor. */
  static Shape shape(TensorSource source, String key) {
    TensorEntry entry = source.entries().get(key);
    if (entry == null) {
      throw new IllegalArgumentException("there is no tensor " + key);
    }
    return entry.shape();
  }

  /** The number in a stored tensor of one element. */
  static double number(TensorSource source, String key) {
    Tensor value = source.read(key);
    if (value.numel() != 1) {
      throw new IllegalArgumentException(
          source.description() + ": " + key + " must be one number; it is " + value.shape());
    }
    return value.toDoubleArray()[0];
  }
}
