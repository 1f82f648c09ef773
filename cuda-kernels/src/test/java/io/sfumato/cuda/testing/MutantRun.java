// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** Runs test classes until the first failure: exit 3 when there was one, 0 when there was none. */
final class MutantRun {
  /** The exit status after a failure. */
  static final int CAUGHT = 3;

  /** The exit status when no test ran. */
  static final int NOTHING_RAN = 4;

  private MutantRun() {}

  /** Runs the classes named. */
  public static void main(String[] classes) {
    LauncherDiscoveryRequestBuilder request = LauncherDiscoveryRequestBuilder.request();
    request.configurationParameter("junit.jupiter.extensions.autodetection.enabled", "true");
    for (String name : classes) {
      request.selectors(DiscoverySelectors.selectClass(name));
    }
    Launcher launcher = LauncherFactory.create();
    int[] passed = {0};
    launcher.execute(
        request.build(),
        new TestExecutionListener() {
          @Override
          public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            if (result.getStatus() == TestExecutionResult.Status.FAILED) {
              System.out.println("caught by " + test.getDisplayName() + ": " + result);
              Runtime.getRuntime().halt(CAUGHT);
            }
            passed[0] += test.isTest() ? 1 : 0;
          }
        });
    System.out.println(passed[0] + " tests passed");
    Runtime.getRuntime().halt(passed[0] == 0 ? NOTHING_RAN : 0);
  }
}
