// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.adapter.Targets;
import io.sfumato.tensor.Parameter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Which parameters have a learning rate or a weight decay of their own: the first rule that fits a
 * parameter's name counts, and one that no rule fits has the optimizer's.
 *
 * @param rules in order
 * @param baseRate the highest learning rate of the optimizer, for which those of the rules are
 *     meant: as it follows its schedule, they keep their ratios to it. Null if no rule has one
 */
public record GroupRules(List<Rule> rules, @Nullable Double baseRate) {
  /** All parameters alike. */
  public static final GroupRules NONE = new GroupRules(List.of(), null);

  /** Checks that there is a rate to compare those of the rules with. */
  public GroupRules {
    rules = List.copyOf(rules);
    if (baseRate == null && rules.stream().anyMatch(rule -> rule.learningRate != null)) {
      throw new IllegalArgumentException(
          "groups with a learning rate need the optimizer's learning rate beside it");
    }
  }

  /**
   * Numbers for some parameters.
   *
   * @param match patterns of names, as in {@link Targets#glob}: {@code "down_blocks.**"}
   * @param learningRate at the height of the schedule; null for the optimizer's
   * @param weightDecay null for the optimizer's
   */
  public record Rule(
      List<String> match, @Nullable Double learningRate, @Nullable Double weightDecay) {
    /** Checks the numbers together. */
    public Rule {
      match = List.copyOf(match);
      StringBuilder wrong = new StringBuilder();
      if (match.isEmpty() || match.stream().anyMatch(String::isBlank)) {
        wrong.append("; match must name parameters");
      }
      if (learningRate != null && !(learningRate >= 0 && learningRate < 1e6)) {
        wrong.append("; learning_rate must not be negative, got ").append(learningRate);
      }
      if (weightDecay != null && !(weightDecay >= 0 && weightDecay < 1e6)) {
        wrong.append("; weight_decay must not be negative, got ").append(weightDecay);
      }
      if (learningRate == null && weightDecay == null) {
        wrong.append("; learning_rate or weight_decay is needed");
      }
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException(wrong.substring(2));
      }
    }

    private String text() {
      return "match="
          + String.join("|", match)
          + (learningRate == null ? "" : ",learning_rate=" + learningRate)
          + (weightDecay == null ? "" : ",weight_decay=" + weightDecay);
    }
  }

  /** The rules in words, as {@code --parameter-groups} has them. */
  String text() {
    return String.join(" ", rules.stream().map(Rule::text).toList());
  }

  /**
   * Sorts parameters.
   *
   * @param parameters of one optimizer
   * @return a group for each rule, and one for the rest if there is any
   * @throws IllegalArgumentException listing the rules that fit no parameter, or whose parameters
   *     earlier rules took
   */
  public List<ParameterGroup> groups(Collection<Parameter> parameters) {
    List<Parameter> rest = new ArrayList<>(parameters);
    List<ParameterGroup> groups = new ArrayList<>();
    List<String> idle = new ArrayList<>();
    for (Rule rule : rules) {
      Predicate<String> wanted = Targets.glob(rule.match.toArray(String[]::new));
      List<Parameter> taken = rest.stream().filter(p -> wanted.test(p.name())).toList();
      if (taken.isEmpty()) {
        idle.add(String.join("|", rule.match));
      } else {
        rest.removeAll(taken);
        Double rate = rule.learningRate == null ? baseRate : rule.learningRate;
        groups.add(new ParameterGroup(taken, rate, rule.weightDecay));
      }
    }
    if (!idle.isEmpty()) {
      throw new IllegalArgumentException(
          "no parameter is left for the groups "
              + String.join(", ", idle)
              + "; names are such as "
              + String.join(", ", parameters.stream().limit(5).map(Parameter::name).toList()));
    }
    if (!rest.isEmpty()) {
      groups.add(new ParameterGroup(rest, baseRate, null));
    }
    return groups;
  }
}
