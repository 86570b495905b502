# shellcheck shell=bash
# cmd.sh -- where jobs run. Sourced by run.sh.
#
# run.pl runs them on this machine. A site's own queue.pl or slurm.pl takes the same command line:
# export train_cmd="queue.pl --mem 4G" cuda_cmd="queue.pl --gpu 1".

export train_cmd=run.pl  # features and other CPU jobs
export decode_cmd=run.pl # decoding
export cuda_cmd=run.pl   # training
