# shellcheck shell=bash
# cmd.sh -- where jobs run. Sourced by run.sh.
#
# run.pl, queue.pl and slurm.pl take the same command line: utils/run.pl --help. What options such as --mem mean
# to a site's scheduler is in conf/queue.conf (Grid Engine) and conf/slurm.conf. These lines hold only options that
# Kaldi's own runners know too, so a site's queue.pl can take the place of ours.

cmd_backend=${cmd_backend:-local} # local: this machine; sge: Grid Engine; slurm
# How often our runners try a failed task again. Kaldi's take no notice.
[[ $cmd_backend == local ]] || export SER_RETRIES=${SER_RETRIES:-1}

case $cmd_backend in
  local)
    export train_cmd=run.pl  # features and other CPU jobs
    export decode_cmd=run.pl # decoding
    export cuda_cmd=run.pl   # training
    ;;
  sge)
    export train_cmd="queue.pl --mem 2G"
    export decode_cmd="queue.pl --mem 2G"
    export cuda_cmd="queue.pl --mem 4G" # on GPUs: --gpu 1; at most 8 at once: --max-jobs-run 8
    ;;
  slurm)
    export train_cmd="slurm.pl --mem 2G"
    export decode_cmd="slurm.pl --mem 2G"
    export cuda_cmd="slurm.pl --mem 4G" # on GPUs: --gpu 1; at most 8 at once: --max-jobs-run 8
    ;;
  *)
    printf 'cmd.sh: error: cmd_backend=%s: choose local, sge or slurm\n' "$cmd_backend" >&2
    return 1
    ;;
esac
