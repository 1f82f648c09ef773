// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.List;

/**
 * One case of the suite, set up.
 *
 * @param body what is timed
 * @param resources closed afterwards: models and optimisers
 */
record SuiteCase(Runnable body, List<AutoCloseable> resources) implements AutoCloseable {
  /** A case without models. */
  static SuiteCase of(Runnable body) {
    return new SuiteCase(body, List.of());
  }

  @Override
  public void close() {
    for (AutoCloseable r : resources) {
      try {
        r.close();
      } catch (Exception e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
