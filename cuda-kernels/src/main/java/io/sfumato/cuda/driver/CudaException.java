// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.tensor.DeviceException;

/** A call to the driver or one of NVIDIA's libraries failed. */
public final class CudaException extends DeviceException {
  private static final long serialVersionUID = 1;

  /** CUDA_ERROR_OUT_OF_MEMORY. */
  static final int OUT_OF_MEMORY = 2;

  /** The CUresult. */
  private final int code;

  /**
   * Explains a failed call.
   *
   * @param code the CUresult
   * @param call the function, with what it was called for
   * @param name the name of the code
   * @param text what the driver says of it
   */
  CudaException(int code, String call, String name, String text) {
    super(call + " failed with " + name + " (" + text + ")" + remedy(code));
    this.code = code;
  }

  /** The CUresult of the driver API. */
  public int code() {
    return code;
  }

  /**
   * Whether the device's context is lost: every later call fails as well, until the process ends.
   */
  public boolean isSticky() {
    return isSticky(code);
  }

  static boolean isSticky(int code) {
    return switch (code) {
      // launches beyond the limits, peers, contexts, page-locked memory: nothing is lost
      case 701, 704, 705, 708, 709, 711, 712, 713 -> false;
      case 214, 999 -> true;
      default -> code >= 700 && code <= 719;
    };
  }

  private static String remedy(int code) {
    if (isSticky(code)) {
      return "; the device's context is lost: its tensors cannot be read any more, work on the CPU"
          + " goes on, a new process can use the device again. Kernels run asynchronously: start"
          + " Java with -Dsfumato.cuda.sync=true to see which one failed";
    }
    return switch (code) {
      case 1 -> "; this is a bug of the library, or an argument beyond the device's limits";
      case OUT_OF_MEMORY -> "; use smaller batches, or free memory that other programs hold";
      case 34 -> "; the library is a stub: install the driver";
      case 35, 222 -> "; the driver is too old for these kernels: update it to 525 or newer";
      case 100 -> "; no device is visible: see CUDA_VISIBLE_DEVICES";
      case 101 -> "; there is no device of this index";
      case 200, 209, 218 ->
          "; the kernel image does not fit this device: it needs compute capability 8.0 or newer";
      case 701 -> "; the kernel needs more registers or threads than a block may have";
      case 803 -> "; the driver and its library are of different versions: restart the machine";
      default -> "";
    };
  }
}
