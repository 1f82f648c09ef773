// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.PrintWriter;
import java.util.stream.Stream;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/**
 * A program that runs the tests of the most important kernels, for JVMs that are started with
 * shorter vectors. Prints the loops in use and the number of tests, or what failed.
 */
final class KernelTests {
  private KernelTests() {}

  /** No arguments; exits with 1 if a test fails. */
  public static void main(String[] args) {
    System.out.println(Simd.provider().name());
    GemmTile tile = Simd.provider().gemmTile();
    System.out.println(tile.maxRows() + " x " + tile.maxVectors());
    var listener = new SummaryGeneratingListener();
    var request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(
                Stream.of(
                        GemmTileTest.class,
                        GemmTest.class,
                        Conv2dKernelTest.class,
                        AttentionKernelTest.class,
                        GroupNormKernelTest.class,
                        LayerNormKernelTest.class,
                        SoftmaxKernelTest.class)
                    .map(c -> selectClass(c))
                    .toList())
            .build();
    LauncherFactory.create().execute(request, listener);
    TestExecutionSummary summary = listener.getSummary();
    System.out.println(summary.getTestsSucceededCount());
    if (summary.getTotalFailureCount() > 0 || summary.getTestsFoundCount() == 0) {
      summary.printFailuresTo(new PrintWriter(System.out, true, UTF_8));
      System.exit(1);
    }
  }
}
