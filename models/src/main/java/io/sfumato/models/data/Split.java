// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

/** The part of a published data set. */
public enum Split {
  /** The part to train on. */
  TRAIN,
  /** The part held out for testing. */
  TEST
}
