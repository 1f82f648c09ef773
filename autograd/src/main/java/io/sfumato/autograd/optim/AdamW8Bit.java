// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.Quantize;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * {@link AdamW} whose moments are kept in bytes, with a magnitude for each block of 256: a quarter
 * of the memory (Dettmers et al. 2022, <a
 * href="https://arxiv.org/abs/2110.02861">arXiv:2110.02861</a>). A step decodes the moments of some
 * parameters to f32, updates them as AdamW does and codes them again, by the dynamic maps and
 * rounding of bitsandbytes; unlike there, decay comes before the step, as in PyTorch. Moments of
 * fewer than 4096 elements stay in f32.
 */
public final class AdamW8Bit extends AdamFamily {
  /** Elements from which moments are coded. */
  public static final int LEAST_ELEMENTS = 4096;

  private static final int BLOCK = 256;
  private static final String MAGNITUDES = "_absmax";

  /** Bytes of decoded moments at a time. */
  private static final long GROUP_BYTES = 64L << 20;

  /** An optimizer of some parameters; for options see {@link AdamW#options}. */
  public AdamW8Bit(Collection<Parameter> parameters, AdamOptions options) {
    this(List.of(ParameterGroup.of(parameters)), options);
  }

  /** An optimizer of groups. */
  public AdamW8Bit(List<ParameterGroup> groups, AdamOptions options) {
    super(groups, options, true);
  }

  @Override
  Map<String, TensorSpec> stateOf(TensorSpec value) {
    if (!isCoded(value)) {
      return super.stateOf(value);
    }
    TensorSpec codes = value.with(DType.U8);
    int blocks = Math.toIntExact((value.shape().numel() + BLOCK - 1) / BLOCK);
    TensorSpec magnitudes = value.with(Shape.of(blocks));
    return Map.of(
        FIRST,
        codes,
        FIRST + MAGNITUDES,
        magnitudes,
        SECOND,
        codes,
        SECOND + MAGNITUDES,
        magnitudes);
  }

  private static boolean isCoded(TensorSpec value) {
    return value.dtype() == DType.F32 && value.shape().numel() >= LEAST_ELEMENTS;
  }

  @Override
  void update(List<Item> items, double rate, double decay, long step, Pass pass) {
    List<Item> plain = new ArrayList<>();
    List<Item> group = new ArrayList<>();
    long bytes = 0;
    for (Item item : items) {
      if (!isCoded(item.value().spec())) {
        plain.add(item);
        continue;
      }
      long own = 2 * item.value().spec().bytes();
      boolean fits = group.isEmpty() || bytes + own <= GROUP_BYTES;
      if (!fits || !group.isEmpty() && !onOneDevice(group.getFirst(), item)) {
        coded(group, rate, decay, step, pass);
        group.clear();
        bytes = 0;
      }
      group.add(item);
      bytes += own;
    }
    if (!group.isEmpty()) {
      coded(group, rate, decay, step, pass);
    }
    super.update(plain, rate, decay, step, pass);
  }

  private static boolean onOneDevice(Item a, Item b) {
    return a.value().device().equals(b.value().device());
  }

  private void coded(List<Item> group, double rate, double decay, long step, Pass pass) {
    List<Parameter> decoded = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Device device = group.getFirst().value().device();
      Tensor signed = table(true, device);
      Tensor unsigned = table(false, device);
      List<Item> wide = new ArrayList<>();
      for (Item item : group) {
        Parameter m = new Parameter(FIRST, decode(item, FIRST, signed));
        decoded.add(m);
        Parameter v = new Parameter(SECOND, decode(item, SECOND, unsigned));
        decoded.add(v);
        Map<String, Parameter> moments = Map.of(FIRST, m, SECOND, v);
        wide.add(new Item(item.value(), item.grad(), moments, item.average()));
      }
      super.update(wide, rate, decay, step, pass);
      for (int i = 0; i < group.size(); i++) {
        encode(group.get(i), FIRST, wide.get(i).state(FIRST), signed);
        encode(group.get(i), SECOND, wide.get(i).state(SECOND), unsigned);
      }
    } finally {
      decoded.forEach(Parameter::close);
    }
  }

  private static Tensor table(boolean signed, Device device) {
    float[] values = CodeTables.dynamic(signed);
    return Tensor.of(values, values.length).to(device);
  }

  private static Tensor decode(Item item, String moment, Tensor table) {
    Tensor magnitudes = item.state(moment + MAGNITUDES);
    return Quantize.decodeBytes(item.state(moment), magnitudes, table, BLOCK);
  }

  private static void encode(Item item, String moment, Tensor values, Tensor table) {
    Tensor[] coded = Quantize.encodeBytes(values, table, BLOCK);
    Updates.copy(item.state(moment), coded[0]);
    Updates.copy(item.state(moment + MAGNITUDES), coded[1]);
  }
}
