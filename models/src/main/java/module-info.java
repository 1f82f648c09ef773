// SPDX-License-Identifier: Apache-2.0

/** Layers, diffusion models, samplers, data sets and training. */
module io.sfumato.models {
  requires com.fasterxml.jackson.databind;
  requires com.fasterxml.jackson.dataformat.yaml;
  requires ejml.core;
  requires ejml.ddense;
  requires info.picocli;
  requires java.desktop;
  requires java.management;
  requires jdk.management;
  requires jdk.unsupported;
  requires me.tongfei.progressbar;
  requires org.knowm.xchart;
  requires org.yaml.snakeyaml;
  requires transitive io.sfumato.autograd;
  requires transitive io.sfumato.tensor;
  requires static transitive org.jspecify;

  exports io.sfumato.models.adapter;
  exports io.sfumato.models.cli;
  exports io.sfumato.models.data;
  exports io.sfumato.models.distributed;
  exports io.sfumato.models.data.augment;
  exports io.sfumato.models.data.batch;
  exports io.sfumato.models.eval;
  exports io.sfumato.models.examples;
  exports io.sfumato.models.gan;
  exports io.sfumato.models.unet;
  exports io.sfumato.models.pipeline;
  exports io.sfumato.models.quant;
  exports io.sfumato.models.report;
  exports io.sfumato.models.vae;
  exports io.sfumato.models.text;
  exports io.sfumato.models.vqvae;
  exports io.sfumato.models.train;
  exports io.sfumato.models.nn;
  exports io.sfumato.models.diffusion;
  exports io.sfumato.models.dit;

  opens io.sfumato.models.cli to
      info.picocli;
  opens io.sfumato.models.examples to
      info.picocli;

  uses io.sfumato.models.cli.ProgramProvider;

  provides io.sfumato.models.cli.ProgramProvider with
      io.sfumato.models.examples.ExamplePrograms;
}
