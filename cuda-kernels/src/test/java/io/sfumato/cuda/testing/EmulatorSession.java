// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import io.sfumato.cuda.driver.DriverLibrary;
import java.nio.file.Path;
import org.junit.platform.launcher.LauncherSession;
import org.junit.platform.launcher.LauncherSessionListener;

/**
 * Lets tests find the emulated driver where they look for NVIDIA's: builds it before the first test
 * and names it in the properties that the backend reads. The system property {@value #PROPERTY} set
 * to {@code gpu} leaves everything as it is, so the same tests run on a GPU; {@code none} also
 * does, for machines with neither GPU nor compiler, where tests that need a device fail.
 */
public final class EmulatorSession implements LauncherSessionListener {
  /** What the tests run on. */
  public static final String PROPERTY = "sfumato.cuda.test";

  /** Made by JUnit. */
  public EmulatorSession() {}

  @Override
  public void launcherSessionOpened(LauncherSession session) {
    start();
  }

  /** Builds the emulator and points the backend at it, unless a library is named already. */
  public static synchronized void start() {
    String where = System.getProperty(PROPERTY, "emulator");
    if (!where.equals("emulator") || System.getProperty(DriverLibrary.PROPERTY) != null) {
      return;
    }
    Path folder = EmulatorBuild.of(EmulatorBuild.moduleFolder()).build();
    System.setProperty(DriverLibrary.PROPERTY, folder.resolve("libcuda.so.1").toString());
    System.setProperty("sfumato.cuda.images", folder.resolve("images").toString());
    System.setProperty("sfumato.cuda.plans", "false"); // the emulator's times mean nothing
    System.setProperty("sfumato.cuda.nvrtc", "false"); // it runs no machine code of a GPU
    if (System.getProperty("sfumato.cuda.exact") == null) {
      // Every tensor has guard bytes around it and undefined contents of NaN.
      System.setProperty("sfumato.cuda.exact", "true");
    }
  }
}
