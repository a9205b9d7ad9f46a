#!/bin/sh
# ./main.sh K: the centres of K groups of the points
python kmeans.py "$1" points.csv >centres.txt
cat centres.txt
