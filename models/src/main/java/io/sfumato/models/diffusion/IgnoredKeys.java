// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Says once that values of a configuration have no effect, as in the reference. */
final class IgnoredKeys {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");
  private static final Set<String> SAID = ConcurrentHashMap.newKeySet();

  private IgnoredKeys() {}

  /** Logs which of the keys are set to something else than their default, and why that is idle. */
  static void log(SchedulerConfig config, String why, String... keys) {
    Map<String, Keys.Key> known = Samplers.of(config.className()).keys();
    List<String> set = new ArrayList<>();
    for (String key : keys) {
      Keys.Key k = known.get(key);
      Object value = config.values().get(key);
      if (k != null && value != null && !same(value, k.byDefault())) {
        set.add(key + " = " + value);
      }
    }
    if (!set.isEmpty()) {
      String line = config.className() + ": no effect of " + set + ", for " + why;
      if (SAID.add(line)) {
        LOG.log(System.Logger.Level.WARNING, line);
      }
    }
  }

  private static boolean same(Object a, @org.jspecify.annotations.Nullable Object b) {
    return a instanceof Number m && b instanceof Number n
        ? m.doubleValue() == n.doubleValue()
        : Objects.equals(a, b);
  }
}
