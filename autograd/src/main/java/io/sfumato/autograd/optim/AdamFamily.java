// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What Adam and the forms of AdamW share. */
abstract sealed class AdamFamily extends StatefulOptimizer
    permits Adam, AdamW, AdamW8Bit, PagedAdamW {
  /** The running mean of gradients. */
  static final String FIRST = "exp_avg";

  /** The running mean of their squares. */
  static final String SECOND = "exp_avg_sq";

  private final AdamOptions options;
  private final boolean decoupled;

  AdamFamily(List<ParameterGroup> groups, AdamOptions options, boolean decoupled) {
    super(groups, options.learningRate(), options.weightDecay());
    this.options = options;
    this.decoupled = decoupled;
  }

  @Override
  Map<String, TensorSpec> stateOf(TensorSpec value) {
    return Map.of(FIRST, value, SECOND, value);
  }

  /** Whether a state is one of the moments, not a master weight. */
  static boolean isMoment(String name) {
    return name.equals(FIRST) || name.equals(SECOND);
  }

  @Override
  final boolean takesOnePass() {
    return true;
  }

  @Override
  void update(List<Item> items, double rate, double decay, long step, Pass pass) {
    Updates.Adam constants =
        new Updates.Adam(
            rate,
            options.beta1(),
            options.beta2(),
            options.eps(),
            decay,
            decoupled,
            step,
            pass.scale());
    update(items.stream().filter(i -> i.average() == null).toList(), constants, pass, null);
    List<Item> averaged = new ArrayList<>();
    List<Tensor> averages = new ArrayList<>();
    for (Item item : items) {
      if (item.average() != null) {
        averaged.add(item);
        averages.add(item.average());
      }
    }
    update(averaged, constants, pass, new Updates.Averages(averages, pass.averageDecay()));
  }

  private static void update(
      List<Item> items, Updates.Adam constants, Pass pass, Updates.@Nullable Averages averages) {
    Updates.adamW(
        all(items, Item::value),
        all(items, Item::grad),
        all(items, FIRST),
        all(items, SECOND),
        constants,
        pass.limit(),
        averages);
  }
}
