// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.train.GroupRules.Rule;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Parameters with a learning rate and a weight decay of their own. */
class GroupRulesTest {
  private static final class Net extends Module {
    final Linear down;
    final Linear up;

    Net(Weights weights) {
      super(weights);
      down = child("down", w -> new Linear(w, 3, 3, true));
      up = child("up", w -> new Linear(w, 3, 3, true));
    }
  }

  private static Rule rule(String match, Double rate, Double decay) {
    return new Rule(List.of(match.split("\\|")), rate, decay);
  }

  private static List<String> names(ParameterGroup group) {
    return group.parameters().stream().map(Parameter::name).sorted().toList();
  }

  @Test
  void theFirstRuleThatFitsCounts() {
    try (Net net = new Net(Weights.init(Rng.seed(0)))) {
      List<ParameterGroup> groups =
          new GroupRules(List.of(rule("**.bias", null, 0.0), rule("up.**", 1e-5, null)), 1e-4)
              .groups(net.parameters());
      assertEquals(List.of("down.bias", "up.bias"), names(groups.get(0)));
      assertEquals(0.0, groups.get(0).weightDecay());
      assertEquals(1e-4, groups.get(0).learningRate());
      assertEquals(List.of("up.weight"), names(groups.get(1)));
      assertEquals(1e-5, groups.get(1).learningRate());
      assertEquals(List.of("down.weight"), names(groups.get(2)));
      assertEquals(3, groups.size());
      assertEquals(1, GroupRules.NONE.groups(net.parameters()).size());
    }
  }

  @Test
  void rulesWithoutParametersAndWrongNumbersAreRefused() {
    try (Net net = new Net(Weights.init(Rng.seed(0)))) {
      GroupRules rules =
          new GroupRules(
              List.of(rule("**", null, 0.0), rule("up.**", null, 0.1), rule("no", null, 0.1)),
              null);
      String message =
          assertThrows(IllegalArgumentException.class, () -> rules.groups(net.parameters()))
              .getMessage();
      assertTrue(message.contains("left for the groups up.**, no;"), message);
    }
    String wrong =
        assertThrows(IllegalArgumentException.class, () -> rule("a", -1.0, Double.NaN))
            .getMessage();
    assertTrue(wrong.contains("learning_rate") && wrong.contains("weight_decay"), wrong);
    assertThrows(IllegalArgumentException.class, () -> rule("a", null, null));
    assertThrows(
        IllegalArgumentException.class, () -> new GroupRules(List.of(rule("a", 1e-5, null)), null));
  }

  /** Adam's first step is the learning rate in size, whatever the gradient. */
  @Test
  void theRatesKeepTheirRatioAlongTheSchedule() {
    GroupRules rules = new GroupRules(List.of(rule("up.**", 1e-3, null)), 1e-2);
    try (Net net = new Net(Weights.init(Rng.seed(0)));
        Update update = new Update(net, UpdateOptions.adam().groups(rules));
        Scope scope = Scope.open()) {
      Map<String, float[]> before =
          net.parameters().stream()
              .collect(Collectors.toMap(Parameter::name, p -> p.value().toFloatArray().clone()));
      Tensor x = Rng.seed(1).normal(4, 3);
      update.step(
          5e-3, // half way down
          0,
          1,
          number -> () -> new Tensor[] {Num.mean(Num.square(net.up.call(net.down.call(x))))});
      Map<String, Double> moved = new TreeMap<>();
      for (Parameter p : net.parameters()) {
        double most = 0;
        float[] after = p.value().toFloatArray();
        for (int i = 0; i < after.length; i++) {
          most = Math.max(most, Math.abs(after[i] - before.get(p.name())[i]));
        }
        moved.put(p.name(), most);
      }
      assertEquals(5e-3, moved.get("down.weight"), 1e-6);
      assertEquals(5e-4, moved.get("up.weight"), 1e-7);
      assertEquals(5e-4, moved.get("up.bias"), 1e-7);
    }
  }
}
