// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

/** Trains a small diffusion model and writes samples to {@code out/}. */
public final class TrainDiffusion {
  private TrainDiffusion() {}

  /**
   * Runs the program.
   *
   * @param args command-line options
   */
  public static void main(String[] args) {
    System.out.println("TrainDiffusion does not train yet; options: " + String.join(" ", args));
  }
}
