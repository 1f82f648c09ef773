// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class CudaExceptionTest {
  @Test
  void onlyErrorsOfWhatRanLoseTheContext() {
    for (int lost : new int[] {214, 700, 702, 710, 716, 719, 999}) {
      assertTrue(CudaException.isSticky(lost), "code " + lost);
    }
    // too many registers, peers that are or are not connected, too many peers, pinned memory
    for (int kept : new int[] {1, 2, 218, 701, 704, 705, 708, 709, 711, 712, 713, 720, 900}) {
      assertFalse(CudaException.isSticky(kept), "code " + kept);
    }
  }
}
