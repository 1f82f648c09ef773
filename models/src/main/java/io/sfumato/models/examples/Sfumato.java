// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.AutoComplete.GenerateCompletion;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** All programs behind one name: {@code sfumato train ddpm --minutes 10}. */
@Command(
    name = "sfumato",
    mixinStandardHelpOptions = true,
    version = "Sfumato 0.1.0-SNAPSHOT",
    description = "Trains, fine-tunes and samples diffusion models, and converts their files.")
public final class Sfumato implements Callable<Integer> {
  @Spec private @Nullable CommandSpec spec;

  private Sfumato() {}

  @Command(
      name = "train",
      mixinStandardHelpOptions = true,
      description = "Trains a model from the beginning.")
  private static final class Train implements Callable<Integer> {
    @Spec private @Nullable CommandSpec spec;

    @Override
    public Integer call() {
      return usage(spec);
    }
  }

  /** The programs by the names they have here. */
  static CommandLine commands() {
    CommandLine train =
        new CommandLine(new Train())
            .addSubcommand(named("ddpm", TrainDdpm.class))
            .addSubcommand(named("dit", TrainDit.class))
            .addSubcommand(named("flow", TrainFlowMatching.class))
            .addSubcommand(named("latent", TrainLatentDiffusion.class))
            .addSubcommand(named("autoencoder", TrainAutoencoder.class))
            .addSubcommand(named("vae", TrainVae.class))
            .addSubcommand(named("vqvae", TrainVqVae.class))
            .addSubcommand(named("gan", TrainGan.class));
    return new CommandLine(new Sfumato())
        .addSubcommand(train)
        .addSubcommand(named("finetune", FinetuneLora.class))
        .addSubcommand(named("sample", Sample.class))
        .addSubcommand(named("img2img", Img2Img.class))
        .addSubcommand(named("inpaint", Inpaint.class))
        .addSubcommand(named("interpolate", Interpolate.class))
        .addSubcommand(named("merge", MergeAdapters.class))
        .addSubcommand(named("extract", ExtractLora.class))
        .addSubcommand(named("convert", Convert.class))
        .addSubcommand(named("inspect", Inspect.class))
        .addSubcommand(named("completion", GenerateCompletion.class));
  }

  private static CommandLine named(String name, Class<?> program) {
    return new CommandLine(program).setCommandName(name);
  }

  /**
   * Runs a program and exits with its code. From a jar without the options that Sfumato wants of
   * Java, it runs in a second process that has them.
   *
   * @param args the program's name and its options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(SelfStart.isNeeded() ? SelfStart.run(Sfumato.class, args) : run(args));
  }

  /** Runs a program and returns its exit code. */
  static int run(String... args) {
    return Program.run(commands(), args);
  }

  @Override
  public Integer call() {
    return usage(spec);
  }

  /** Without a program there is nothing to do: tells which there are. */
  private static int usage(@Nullable CommandSpec spec) {
    if (spec != null) {
      spec.commandLine().usage(spec.commandLine().getErr());
    }
    return 2;
  }
}
