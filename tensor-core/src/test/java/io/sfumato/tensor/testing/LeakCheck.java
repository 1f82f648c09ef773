// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.testing;

import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.cpu.CpuBackend;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;

/**
 * Fails any test that leaves tensor memory behind. Registered for all tests by {@code
 * META-INF/services}; with {@code -Dsfumato.debug=true} the failure lists where what is left was
 * created.
 */
public final class LeakCheck implements BeforeEachCallback, AfterEachCallback {
  private static final Namespace NAMESPACE = Namespace.create(LeakCheck.class);

  @Override
  public void beforeEach(ExtensionContext context) {
    context.getStore(NAMESPACE).put("before", CpuBackend.instance().memory());
  }

  @Override
  public void afterEach(ExtensionContext context) {
    if (context.getExecutionException().isPresent()) {
      return; // the test's own failure says more
    }
    MemoryStats before = context.getStore(NAMESPACE).get("before", MemoryStats.class);
    MemoryStats after = CpuBackend.instance().memory();
    if (before.live() != after.live() || before.buffers() != after.buffers()) {
      String report = Storage.liveReport();
      throw new AssertionError(
          "test leaks "
              + (after.live() - before.live())
              + " bytes in "
              + (after.buffers() - before.buffers())
              + " buffers"
              + (report.isEmpty()
                  ? " (run with -Dsfumato.debug=true to see where they were created)"
                  : ":\n" + report));
    }
  }
}
