// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.util.Collections;
import java.util.LinkedHashMap;
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
    return new Squeezed(source.rename(name -> present(name, source.entries())));
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

  /** 1×1 convolutions of attention as matrices. */
  private static final class Squeezed implements TensorSource {
    private final TensorSource source;
    private final Map<String, TensorEntry> entries = new LinkedHashMap<>();

    Squeezed(TensorSource source) {
      this.source = source;
      source.entries().forEach((name, entry) -> entries.put(name, squeezed(entry)));
    }

    private static TensorEntry squeezed(TensorEntry entry) {
      List<Long> dims = entry.dims();
      boolean convolution =
          dims.size() == 4
              && dims.get(2) == 1
              && dims.get(3) == 1
              && PROJECTION.matcher(entry.name()).matches();
      return convolution
          ? new TensorEntry(
              entry.name(), entry.type(), dims.subList(0, 2), entry.begin(), entry.end())
          : entry;
    }

    @Override
    public String description() {
      return source.description();
    }

    @Override
    public Map<String, TensorEntry> entries() {
      return Collections.unmodifiableMap(entries);
    }

    @Override
    public Map<String, String> metadata() {
      return source.metadata();
    }

    @Override
    public Tensor read(String name) {
      Tensor stored = source.read(name);
      TensorEntry entry = entries.get(name);
      return entry == null || entry.dims().size() == stored.rank()
          ? stored
          : stored.reshape(stored.dim(0), stored.dim(1));
    }

    @Override
    public void close() {
      source.close();
    }
  }
}
