-- What a meter's hour was made from besides its readings, as a fingerprint; null where only its readings tell.

alter table interval add column made_of bigint;
