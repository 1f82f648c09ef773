// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.OriginallyNamed;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Adapters as one safetensors file in the dialects of diffusers and kohya. PEFT's folders are
 * {@link PeftFolder}'s business. Every file says with which α it was trained.
 */
public final class AdapterWriter {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private AdapterWriter() {}

  /**
   * Writes {@code pytorch_lora_weights.safetensors} as diffusers does: {@code
   * unet.<layer>.lora_A.weight}, and the settings, α among them, in the metadata.
   *
   * @param set LoRA or DoRA without Tucker cores
   * @param component the model's name in diffusers
   * @param file where to
   * @throws IllegalArgumentException if diffusers has no form for the kind
   */
  public static void saveDiffusers(AdapterSet set, AdapterFile.Component component, Path file) {
    saveDiffusers(set, component, null, file);
  }

  /**
   * The same with tensors of another type.
   *
   * @param dtype the type of the tensors; null for that of the adapter
   */
  public static void saveDiffusers(
      AdapterSet set, AdapterFile.Component component, @Nullable DType dtype, Path file) {
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      set.storedDict()
          .forEach(
              (name, value) ->
                  tensors.put(
                      component.dotted() + "." + name, dtype == null ? value : value.to(dtype)));
      SafeTensors.save(file, tensors, diffusersMetadata(set, component));
    }
  }

  private static Map<String, String> diffusersMetadata(
      AdapterSet set, AdapterFile.Component component) {
    Map<String, Object> settings = new TreeMap<>();
    Map<String, Object> ranks = new TreeMap<>();
    Map<String, Object> alphas = new TreeMap<>();
    Lora first = null;
    for (Map.Entry<String, AdapterKind> e : set.storedKinds().entrySet()) {
      Lora lora = loraOf(e.getKey(), e.getValue(), "diffusers");
      if (lora.tucker() || (e.getValue() instanceof Dora dora && dora.overInputs())) {
        throw new IllegalArgumentException(
            e.getKey() + ": diffusers has no Tucker cores and no DoRA over inputs");
      }
      if (first == null) {
        first = lora;
        settings.put("r", lora.rank());
        settings.put("lora_alpha", lora.alpha());
        settings.put("use_rslora", lora.rankStabilized());
        settings.put("use_dora", e.getValue() instanceof Dora);
      } else if (lora.rankStabilized() != first.rankStabilized()) {
        throw new IllegalArgumentException(e.getKey() + ": some scales are of rsLoRA, some not");
      }
      String key = "^" + e.getKey().replace(".", "\\.");
      if (lora.rank() != first.rank()) {
        ranks.put(key, lora.rank());
      }
      if (lora.alpha() != first.alpha()) {
        alphas.put(key, lora.alpha());
      }
    }
    settings.put("rank_pattern", ranks);
    settings.put("alpha_pattern", alphas);
    settings.put("target_modules", set.storedKinds().keySet());
    Map<String, Object> prefixed = new TreeMap<>();
    settings.forEach((key, value) -> prefixed.put(component.dotted() + "." + key, value));
    String json;
    try {
      json = JsonMapper.builder().build().writeValueAsString(prefixed);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
    return Map.of("format", "pt", DiffusersMetadata.KEY, json);
  }

  /**
   * Writes a file in kohya's dialect, as web interfaces and LyCORIS read it: {@code
   * lora_unet_<layer_with_underscores>.lora_down.weight} and {@code .alpha} for each layer.
   *
   * @param set LoRA (with Tucker cores, too), DoRA, or a kind of LyCORIS
   * @param component the model's prefix in kohya's names
   * @param nameOf the name of a layer in the file, with dots, for its path: {@link #kohyaNames}
   * @param dtype the type of the tensors; F16 is usual
   * @param file where to
   * @throws IllegalArgumentException if kohya and LyCORIS have no form for a kind
   */
  public static void saveKohya(
      AdapterSet set,
      AdapterFile.Component component,
      UnaryOperator<String> nameOf,
      DType dtype,
      Path file) {
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      set.parts()
          .forEach(
              (path, part) -> {
                String name = component.flat() + "_" + nameOf.apply(path).replace('.', '_') + ".";
                AdapterKind kind = kindOf(set, path);
                Double alpha = alphaOf(path, kind, part);
                if (alpha != null) {
                  Tensor value = Tensor.of(new double[] {alpha}, 1).reshape();
                  tensors.put(name + "alpha", value.to(dtype));
                }
                if (kind instanceof LycorisIa3 ia3) {
                  Tensor flag = Tensor.of(new double[] {ia3.ofInput() ? 1 : 0}, 1).reshape();
                  tensors.put(name + "on_input", Num.ne(flag, 0));
                }
                part.storedDict()
                    .forEach(
                        (full, value) -> {
                          String factor = full.substring(path.length() + 1);
                          tensors.put(
                              name + kohyaName(factor), kohyaForm(part, factor, value).to(dtype));
                        });
              });
      SafeTensors.save(file, tensors, metadata(set));
      long embeddings =
          set.parts().values().stream().filter(p -> p.layer() instanceof Embedding).count();
      if (embeddings > 0) {
        LOG.log(
            System.Logger.Level.WARNING,
            "{0}: kohya and LyCORIS know no adapters of embeddings; {1} are in the file, which"
                + " programs other than this one will leave out or refuse",
            file,
            embeddings);
      }
    }
  }

  /** What kohya's tools call the layers of a model, with dots: SDXL's U-Net by original names. */
  public static UnaryOperator<String> kohyaNames(Module model) {
    if (model instanceof OriginallyNamed named && named.adaptersUseOriginalNames()) {
      Map<String, String> names = named.originalNames();
      return path -> {
        String name = names.get(path);
        if (name == null) {
          throw new IllegalArgumentException(path + ": has no name in kohya's files");
        }
        return name;
      };
    }
    return UnaryOperator.identity();
  }

  private static AdapterKind kindOf(AdapterSet set, String path) {
    AdapterKind kind = set.storedKinds().get(path);
    if (kind == null) {
      throw new IllegalStateException("no kind at " + path);
    }
    return kind;
  }

  /**
   * The α whose quotient by the rank is the scale, as kohya and LyCORIS read it, or the constraint
   * of a rotation; null for kinds without.
   */
  private static @Nullable Double alphaOf(String path, AdapterKind kind, LayerAdapter part) {
    int out = part.layer().weight().value().dim(0);
    return switch (kind) {
      case DiagOft oft -> oft.constraint() / out;
      case LycorisBoft boft -> boft.constraint() / out;
      case FullDifference full -> null;
      case NormDifference norm -> null;
      case LycorisIa3 ia3 -> null;
      case Loha loha -> loha.alpha();
      case Glora glora -> glora.alpha();
      case Lokr lokr -> lokr.alpha();
      case Lokr.Stored stored -> stored.scale() * stored.plan().rank();
      default -> {
        Lora lora = loraOf(path, kind, "kohya");
        if (lora.bias()) {
          throw new IllegalArgumentException(path + ": kohya has no bias on B");
        }
        yield lora.scale() * lora.rank(); // rsLoRA is folded into it
      }
    };
  }

  /** A factor as LyCORIS reads it. */
  private static Tensor kohyaForm(LayerAdapter part, String factor, Tensor value) {
    if (factor.equals("lokr_w1") && part instanceof Lokr.Part lokr && lokr.isFull()) {
      // The scale is taken for 1 where neither factor is decomposed, so W₁ takes it in.
      return value.mul(lokr.scale());
    }
    if (factor.equals("lora_magnitude_vector") && part instanceof Dora.Part dora) {
      return value.reshape(dora.normShape()); // [out, 1, …] or [1, in, …]: the shape tells which
    }
    return value;
  }

  private static Lora loraOf(String path, AdapterKind kind, String dialect) {
    return switch (kind) {
      case Lora lora -> lora;
      case Dora dora -> dora.lora();
      default ->
          throw new IllegalArgumentException(path + ": " + dialect + " has no form for " + kind);
    };
  }

  private static String kohyaName(String factor) {
    return switch (factor) {
      case "lora_A.weight" -> "lora_down.weight";
      case "lora_B.weight" -> "lora_up.weight";
      case "lora_magnitude_vector" -> "dora_scale";
      default -> factor;
    };
  }

  private static Map<String, String> metadata(AdapterSet set) {
    AdapterKind first = set.storedKinds().values().iterator().next();
    boolean lycoris = !(first instanceof Lora lora && !lora.tucker());
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put("ss_network_module", lycoris ? "lycoris.kohya" : "networks.lora");
    return metadata;
  }
}
