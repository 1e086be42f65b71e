#!/usr/bin/env bash
# Trains the models of the package again:  train.sh MODEL DATA WORK, with MODEL one of human-tf, human-tf-cnn, yeast-tf
# and yeast-tf-cnn, DATA as prepare.py takes it, WORK the folder that prepare.py wrote human/ and yeast/ into. The model
# is written to WORK/MODEL. An interrupted training goes on when the same line is given again.
set -euo pipefail
model=$1 data=$2 work=$3

# human_strongest/ is prepared with --strongest 15000, both with --disjoint.
human=(
    --exclude-chroms 'flanks*' --negatives dinuc-shuffle --negatives random-genome
    --crop 12 --paste 0.15 --paste-width 50 --batch-size 256 --warmup-steps 300 --evaluate-every 500
)
files() { echo --csv "$1/train.csv" --dev-csv "$1/dev.csv" --test-csv "$1/test.csv" "$1/background.fa"; }
yeast=(
    --class "Reb1=$work/yeast/reb1.bed" --class "Rap1=$work/yeast/rap1.bed" --class "Abf1=$work/yeast/abf1.bed"
    "$data/yeast/sacCer3.fa.gz" --test-chroms chrIV,chrXVI --exclude-chroms chrVII,chrXIII
    --negatives dinuc-shuffle --negatives random-genome --negatives "$work/yeast/unbound.bed"
    --negatives-per-positive 2 --balance 1
    --window 128 --jitter 32 --crop 8 --batch-size 128 --warmup-steps 200 --evaluate-every 250
)
case $model in
    human-tf)
        read -ra data_files <<<"$(files "$work/human_strongest")"
        own=("${data_files[@]}" "${human[@]}" --negatives-per-positive 1.2 --balance 0.5 --epochs 27.53 --learning-rate 1e-3
            --dropout 0.1 --weight-decay 0.03 --bpe-dropout 0.2 --paste-least 24 --metric loss)
        ;;
    human-tf-cnn)
        read -ra data_files <<<"$(files "$work/human")"
        own=("${data_files[@]}" "${human[@]}" --negatives-per-positive 0.6 --balance 1 --arch cnn --epochs 6.795
            --learning-rate 2e-3 --dropout 0.3)
        ;;
    yeast-tf)
        own=("${yeast[@]}" --layers 4 --width 128 --heads 8 --mlp-width 256 --epochs 253.35
            --learning-rate 1e-3 --dropout 0.1 --bpe-dropout 0.15 --paste 0.9 --paste-width 26 --paste-least 14)
        ;;
    yeast-tf-cnn) own=("${yeast[@]}" --arch cnn --epochs 152.01 --learning-rate 2e-3 --dropout 0.3 --paste 0.7 --paste-width 32) ;;
    *)
        echo "no model $model" >&2
        exit 2
        ;;
esac
exec gexplain train "${own[@]}" --patience 0 --saved-dtype float16 --output "$work/$model"
