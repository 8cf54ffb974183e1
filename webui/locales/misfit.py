"""How the base model of an anchor and the chosen model differ, as messages; and what is wrong with a data file."""

from __future__ import annotations

from .words import alert


MISFITS = {
    "dba_misfit_architecture": alert(
        "another architecture: the anchor was made for {before}, the model is {now}",
        "другая архитектура: якорь построен для {before}, модель — {now}",
        "架构不同：锚点为 {before} 而作，模型是 {now}",
        "다른 구조: 앵커는 {before}용이고 모델은 {now}입니다",
        "アーキテクチャが異なる：アンカーは {before} 用、モデルは {now}",
    ),
    "dba_misfit_added": alert(
        "another vocabulary size: {before} when the anchor was made, {now} here (tokens were added or the embedding "
        "was padded; {name})",
        "другой размер словаря: {before} при построении якоря, здесь {now} (добавлены токены или дополнена матрица "
        "эмбеддингов; {name})",
        "词表大小不同：制作锚点时为 {before}，此处为 {now}（添加了词元或填充了嵌入；{name}）",
        "다른 어휘 크기: 앵커를 만들 때 {before}, 여기는 {now} (토큰을 추가했거나 임베딩을 늘렸습니다. {name})",
        "語彙サイズが異なる：アンカー作成時は {before}、ここでは {now}（トークンの追加か埋め込みのパディング；{name}）",
    ),
    "dba_misfit_cut": alert(
        "another vocabulary size: {before} when the anchor was made, {now} here (the embedding was cut; {name})",
        "другой размер словаря: {before} при построении якоря, здесь {now} (матрица эмбеддингов урезана; {name})",
        "词表大小不同：制作锚点时为 {before}，此处为 {now}（嵌入被截短；{name}）",
        "다른 어휘 크기: 앵커를 만들 때 {before}, 여기는 {now} (임베딩이 잘렸습니다. {name})",
        "語彙サイズが異なる：アンカー作成時は {before}、ここでは {now}（埋め込みが切り詰められた；{name}）",
    ),
    "dba_misfit_shapes": alert(
        "other shapes in {count} of {total} tensors, first {name}: {before} in the anchor's model, {now} here",
        "другая форма у {count} из {total} тензоров, первый {name}: {before} в модели якоря, здесь {now}",
        "{total} 个张量中有 {count} 个形状不同，首个为 {name}：锚点的模型为 {before}，此处为 {now}",
        "텐서 {total}개 중 {count}개의 모양이 다름, 첫 번째 {name}: 앵커의 모델은 {before}, 여기는 {now}",
        "{total} 個中 {count} 個のテンソルで形が異なる。最初は {name}：アンカーのモデルでは {before}、ここでは {now}",
    ),
    "dba_misfit_missing": alert(
        "{count} tensors missing here: {names}",
        "здесь нет тензоров: {count} ({names})",
        "此处缺少 {count} 个张量：{names}",
        "여기에 없는 텐서 {count}개: {names}",
        "ここにないテンソル {count} 個：{names}",
    ),
    "dba_misfit_only": alert(
        "{count} tensors only here: {names}",
        "тензоры, которые есть только здесь: {count} ({names})",
        "仅此处有的张量 {count} 个：{names}",
        "여기에만 있는 텐서 {count}개: {names}",
        "ここにだけあるテンソル {count} 個：{names}",
    ),
    "dba_misfit_dtype": alert(
        "another dtype in {count} of {total} tensors, first {name}: {before} in the anchor's model, {now} here",
        "другой тип данных у {count} из {total} тензоров, первый {name}: {before} в модели якоря, здесь {now}",
        "{total} 个张量中有 {count} 个数据类型不同，首个为 {name}：锚点的模型为 {before}，此处为 {now}",
        "텐서 {total}개 중 {count}개의 자료형이 다름, 첫 번째 {name}: 앵커의 모델은 {before}, 여기는 {now}",
        "{total} 個中 {count} 個のテンソルでデータ型が異なる。最初は {name}：アンカーのモデルでは {before}、ここでは {now}",
    ),
    "dba_misfit_rounded": alert(
        "another dtype in {count} of {total} tensors, first {name}: {before} in the anchor's model, {now} here; the "
        "values agree up to rounding",
        "другой тип данных у {count} из {total} тензоров, первый {name}: {before} в модели якоря, здесь {now}; "
        "значения совпадают с точностью до округления",
        "{total} 个张量中有 {count} 个数据类型不同，首个为 {name}：锚点的模型为 {before}，此处为 {now}；数值在舍入范围内一致",
        "텐서 {total}개 중 {count}개의 자료형이 다름, 첫 번째 {name}: 앵커의 모델은 {before}, 여기는 {now}. 값은 반올림 "
        "범위에서 같습니다",
        "{total} 個中 {count} 個のテンソルでデータ型が異なる。最初は {name}：アンカーのモデルでは {before}、ここでは {now}。"
        "値は丸めの範囲で一致",
    ),
    "dba_misfit_partly": alert(
        "other values in {count} of {total} tensors of the same name and shape (partly the same model): {names}",
        "другие значения у {count} из {total} тензоров с тем же именем и формой (модель отчасти та же): {names}",
        "同名同形的 {total} 个张量中有 {count} 个数值不同（部分为同一模型）：{names}",
        "이름과 모양이 같은 텐서 {total}개 중 {count}개의 값이 다름(일부는 같은 모델): {names}",
        "同じ名前と形のテンソル {total} 個中 {count} 個で値が異なる（一部は同じモデル）：{names}",
    ),
    "dba_misfit_values": alert(
        "other values in {count} of {total} tensors of the same name and shape (a fine-tuned sibling or an unrelated "
        "model): {names}",
        "другие значения у {count} из {total} тензоров с тем же именем и формой (дообученная копия или посторонняя "
        "модель): {names}",
        "同名同形的 {total} 个张量中有 {count} 个数值不同（微调过的同系模型或无关模型）：{names}",
        "이름과 모양이 같은 텐서 {total}개 중 {count}개의 값이 다름(미세조정된 형제 모델이거나 무관한 모델): {names}",
        "同じ名前と形のテンソル {total} 個中 {count} 個で値が異なる（微調整された同系モデルか無関係なモデル）：{names}",
    ),
    # --- data files
    "dba_file_missing": alert(
        "{path} is not there", "файла {path} нет", "{path} 不存在", "{path}이(가) 없습니다", "{path} がありません"
    ),
    "dba_file_empty": alert(
        "{path} is empty", "{path} пуст", "{path} 为空", "{path}이(가) 비어 있습니다", "{path} は空です"
    ),
    "dba_file_line": alert(
        "{path}, line {number}: {error}",
        "{path}, строка {number}: {error}",
        "{path} 第 {number} 行：{error}",
        "{path} {number}번째 줄: {error}",
        "{path} の {number} 行目：{error}",
    ),
}
