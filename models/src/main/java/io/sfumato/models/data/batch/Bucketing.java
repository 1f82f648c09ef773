// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Pictures.Size;
import org.jspecify.annotations.Nullable;

/** Chooses the size of the batches that a picture is shown in. */
public sealed interface Bucketing permits Buckets, NativeBuckets {
  /**
   * {@return the size that a picture is shown in, its bucket; null if it suits none}
   *
   * @param picture the size of the picture
   */
  @Nullable Size bucket(Size picture);
}
