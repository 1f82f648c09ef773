// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.io.DerivedTensors;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Old checkpoints under their present names. Until 2023 the spatial attention of autoencoders and
 * unconditional U-nets had parameters {@code query}, {@code key}, {@code value}, {@code proj_attn};
 * now they are {@code to_q}, {@code to_k}, {@code to_v}, {@code to_out.0} (diffusers, {@code
 * modeling_utils.py}). Older ones yet store these weights as 1×1 convolutions, [C, C, 1, 1]; here
 * they are [C, C]. Whatever else a checkpoint holds stays as it is.
 *
 * {@snippet :
 * var weights = Weights.from(LegacyNames.of(TensorSource.open(folder)));
 * }
 */
public final class LegacyNames {
  private static final Map<String, String> PRESENT =
      Map.of("query", "to_q", "key", "to_k", "value", "to_v", "proj_attn", "to_out.0");

  private static final Pattern OLD =
      Pattern.compile("(.*\\.|)(query|key|value|proj_attn)\\.(weight|bias)", Pattern.DOTALL);

  private static final Pattern PROJECTION =
      Pattern.compile("(.*\\.|)(to_q|to_k|to_v|to_out\\.0)\\.weight", Pattern.DOTALL);

  private LegacyNames() {}

  /**
   * The tensors of {@code source} under present names and in present shapes; closing the result
   * closes it.
   *
   * @throws io.sfumato.tensor.io.WeightsException if a tensor is there under both names
   */
  public static TensorSource of(TensorSource source) {
    return squeezed(source.rename(name -> present(name, source.entries())));
  }

  /** Renames only inside a module that has all four weights, so that no other "key" is meant. */
  private static String present(String name, Map<String, TensorEntry> all) {
    Matcher old = OLD.matcher(name);
    if (!old.matches()) {
      return name;
    }
    String module = old.group(1);
    boolean attention =
        PRESENT.keySet().stream().allMatch(part -> all.containsKey(module + part + ".weight"));
    return attention ? module + PRESENT.get(old.group(2)) + "." + old.group(3) : name;
  }

  /** The same tensors, 1×1 convolutions of attention as matrices. */
  private static TensorSource squeezed(TensorSource source) {
    DerivedTensors view = DerivedTensors.of(source);
    source
        .entries()
        .forEach(
            (name, entry) -> {
              if (isConvolution(entry)) {
                view.add(name, Shape.of(entry.shape().dim(0), entry.shape().dim(1)), name);
              } else {
                view.add(name, name);
              }
            });
    return view;
  }

  private static boolean isConvolution(TensorEntry entry) {
    List<Long> dims = entry.dims();
    return dims.size() == 4
        && dims.get(2) == 1
        && dims.get(3) == 1
        && PROJECTION.matcher(entry.name()).matches();
  }
}
