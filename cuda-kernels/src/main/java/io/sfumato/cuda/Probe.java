// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

/** What there is of NVIDIA on a machine. */
interface Probe {
  /** What was found of the driver's library. */
  sealed interface Driver permits NoLibrary, Forbidden, Failed, Present {}

  /**
   * The library cannot be loaded.
   *
   * @param library its file name
   * @param why what the system says
   */
  record NoLibrary(String library, String why) implements Driver {}

  /**
   * Java may not load libraries.
   *
   * @param module what needs the permission
   * @param why what the virtual machine says
   */
  record Forbidden(String module, String why) implements Driver {}

  /**
   * The library is there but does not work.
   *
   * @param call the function that failed
   * @param code its CUresult
   */
  record Failed(String call, int code) implements Driver {}

  /**
   * The library works.
   *
   * @param version the newest CUDA it knows, for example {@code 12.6}
   * @param devices the number of devices it shows
   * @param capability compute capability of the first device times ten; 0 if there is none
   */
  record Present(String version, int devices, int capability) implements Driver {}

  /** Loads the library and asks it. */
  Driver driver();

  /** Whether the part of the driver that lives in the kernel is running. */
  boolean hasKernelDriver();
}
